"""No route answers in another shape than the envelope, whatever goes wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from taskmill.api.app import create_app
from taskmill.errors import ERRORS
from taskmill.services.platform import Platform
from tests.support import api
from tests.support.api import client as client_of

pytestmark = pytest.mark.anyio
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")
NOT_JSON = ("/schema", "/metrics")
PAGES = "/dashboard"  # 给人看的页面：tests/integration/dashboard 里另有一样的检查


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """The services, on servers of this test."""
    async with api.opened(database_url, broker_url) as found:
        yield found


def _paths(app: Litestar) -> list[str]:
    return sorted(
        {
            re.sub(r"\{[^}]*\}", "01890000-0000-7000-8000-000000000000", route.path)
            for route in app.routes
            if isinstance(route, HTTPRoute) and not route.path.startswith(PAGES)
        }
    )


def _check(answer: httpx2.Response, where: str) -> None:
    found = api.envelope(answer)
    if answer.is_success:
        return
    spec = next(spec for code, spec in ERRORS.items() if code == found["code"])
    assert spec.status == answer.status_code, where
    assert found["message"]["zh"], where
    assert found["message"]["en"], where
    assert "?" not in found["message"]["en"], f"{where}: a fact is missing: {found}"
    assert answer.headers["content-type"] == "application/json", where


@pytest.mark.parametrize("credentials", ["none", "wrong", "read", "write"])
async def test_every_route_and_method_answers_in_the_envelope(platform: Platform, credentials: str) -> None:
    app = create_app(platform)
    keys = {"none": None, "wrong": "tmk_" + "x" * 43}
    token = keys[credentials] if credentials in keys else (await platform.keys.create("k", [credentials])).secret
    async with client_of(app, token) as client:
        for path in [*_paths(app), "/nothing", "/api/v1/nothing", "/api/v1/tasks/x/nothing"]:
            for method in METHODS:
                for body in (b"", b"{", b'{"unknown": 1}', b"\xff"):
                    answer = await client.request(method, path, content=body, headers={"Content-Type": "application/json"})
                    if method == "GET" and answer.is_success and path.startswith(NOT_JSON):
                        continue
                    _check(answer, f"{method} {path} {body!r}")


async def test_a_bug_is_an_envelope_without_its_words(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        message = "the secret is hunter2"
        raise RuntimeError(message)

    monkeypatch.setattr(platform.tasks, "list", broken)
    async with api.api(platform) as client:
        answer = await client.get("/api/v1/tasks")
    _check(answer, "bug")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
