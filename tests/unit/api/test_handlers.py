"""Each file of `api/handlers/` is served, without a list of them."""

from __future__ import annotations

from pkgutil import iter_modules

from taskmill.api import handlers

ELSEWHERE = {"health", "schema"}  # 不在前缀之下，由 app.py 挂上


def test_every_file_has_a_router_and_its_tag_is_told_once() -> None:
    routers = handlers.routers()
    assert len(routers) == len({found.name for found in iter_modules(handlers.__path__)} - ELSEWHERE)
    assert all(router.tags for router in routers)
    told = [tag for router in routers if "about" in router.opt for tag in router.tags]
    assert len(told) == len(set(told))
    assert set(told) == {tag for router in routers for tag in router.tags}
