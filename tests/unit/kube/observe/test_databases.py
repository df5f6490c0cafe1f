"""Databases in use: who shares one, what is told when it is away, and that nobody else's fault stops the looks at it."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

from taskmill.errors import Code, SetupError, UnavailableError
from taskmill.kube.observe.database_access import identity_of
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.kube.observe.databases import Databases
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
URL = "postgresql://user:hush@db.example:5432/tasks"


class Service:
    """Answers, or raises what it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.looks, self.closed = error, 0, False

    async def workers(self) -> list[Any]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return []

    async def observe(self, **_: Any) -> dict[str, Any]:
        return {}

    async def queues(self) -> dict[str, Any]:
        return {}

    async def close(self) -> None:
        self.closed = True


def opening(service: Service) -> Any:
    """Return what opens this service, whatever the URL."""

    async def opened(_: str) -> Service:
        return service

    return opened


def link_to(service: Service, seen: Any = lambda _: 0.0) -> DatabaseLink:
    link = DatabaseLink("db", seen, tick_s=0.01, opener=opening(service))
    link.use("a", URL)
    return link


def test_users_and_options_do_not_matter() -> None:
    assert identity_of(URL) == identity_of("postgres://other@DB.example/tasks?sslmode=require")
    assert identity_of(URL) != identity_of("postgresql://user:hush@db.example:5433/tasks")


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("postgresql://u:hush@db1:5432,db2:5433/tasks?target_session_attrs=read-write", "postgresql://v@db2:5433,db1/tasks"),
        ("postgresql://u:hush@/tasks?host=db1,db2&port=5432,5433", "postgresql://v@db1,db2:5433/tasks"),
        ("postgresql:///tasks?host=/cloudsql/x", "postgresql://u:hush@/tasks?host=/cloudsql/x&port=5432"),
        ("postgresql://u:hush@[::1]/tasks", "postgresql://u:hush@[::1]:5432/tasks"),
    ],
)
def test_several_hosts_and_sockets_are_databases_too(url: str, same: str) -> None:
    assert identity_of(url) == identity_of(same)
    assert identity_of(url) != identity_of(URL)


@pytest.mark.parametrize(
    ("url", "words"), [("postgresql:///tasks", "names no host"), ("postgresql://db", "names no database")]
)
def test_a_url_that_names_nothing_says_what_is_missing(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        identity_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hush/hush@db/tasks",  # 密码里的 / 没有转义：后一半落在路径里，前一半成了端口
        "postgresql://user:hush\u2100@db/tasks",
        "postgresql://[user:hush@db/tasks",
        "mysql://user:hush@db/tasks",
        "hush",
    ],
)
def test_what_is_wrong_with_a_url_is_told_without_any_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|must begin with") as caught:
        identity_of(url)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


async def test_a_database_without_tables_has_no_work_and_no_workers() -> None:
    link = link_to(Service(SetupError(Code.SCHEMA_BEHIND, found="nothing", expected="0002")))
    await link.look()
    assert (link.loads, link.workers, link.fact.error) == ({}, (), "")


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError(Code.DATABASE_UNAVAILABLE, reason="gone"),
        SetupError(Code.CONFIG_INVALID, field="connection", reason="no"),
        OSError("no route"),
        LookupError("a bug"),
    ],
)
async def test_whatever_goes_wrong_is_unknown_and_never_zero(error: Exception) -> None:
    link = link_to(Service(error))
    await link.look()
    assert (link.loads, link.workers, link.policies) == (None, None, None)
    assert link.fact.error
    assert link.looked.is_set()


async def test_looks_go_on_though_who_hears_of_them_fails() -> None:
    def seen(_: DatabaseLink) -> float:
        raise ZeroDivisionError

    service = Service()
    link = link_to(service, seen)
    link.start()
    await asyncio.wait_for(link.looked.wait(), 10)
    await eventually(lambda: service.looks > 2, timeout=10)
    await link.close()
    assert service.closed


async def test_a_database_is_closed_when_nobody_uses_it_any_more() -> None:
    service = Service()
    databases = Databases(lambda _: 0.0, tick_s=0.01, opener=opening(service))
    link = databases.use("a", URL)
    assert databases.use("b", URL.replace("hush", "other")) is link
    await databases.looked()
    databases.release("a")
    assert not service.closed
    databases.release("b")
    await databases.close()  # 也等正在关的
    assert service.closed
    assert databases.of("a") is None


async def test_a_database_that_is_woken_and_closed_at_once_closes() -> None:
    service = Service()
    link = link_to(service)
    link.start()
    await asyncio.wait_for(link.looked.wait(), 10)
    await asyncio.sleep(0)  # 它又在等下一拍
    link.wake()
    await asyncio.sleep(0)  # 醒了还没接着走，取消就来了
    await asyncio.wait_for(link.close(), 10)
    assert service.closed
