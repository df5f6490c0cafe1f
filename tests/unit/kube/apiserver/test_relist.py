"""When what is listed: all at first and every five minutes, a kind when the watch layer has listed it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import ForbiddenError, TransientError
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.apiserver.relist import Relister, missing_crds
from taskmill.kube.apiserver.tenants import Tenants
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
ALL = sorted(kind.kind for kind in k.WATCHED)


class Lists:
    """An API server without objects that counts the lists, and fails the next `broken` of them, or those of `away`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = 0
        self.away: Kind | None = None

    async def list(self, kind: Kind, namespace: str) -> tuple[list[Any], str]:
        self.asked.append(f"{namespace}/{kind.kind}" if namespace != "ns" else kind.kind)
        if self.broken or kind is self.away:
            self.broken = max(0, self.broken - 1)
            raise TransientError("list", kind.plural, 503, "ServiceUnavailable", "away")
        return [], "1"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr("taskmill.kube.constants.KUBE_RELIST_RETRY_S", 0.001)


@asynccontextmanager
async def running(lists: Lists, clock: FakeClock, *namespaces: str) -> AsyncIterator[Relister]:
    client: Any = lists
    relister, stop = Relister(client, Tenants(namespaces or ("ns",)), lambda *_: None, lambda: None, clock), asyncio.Event()
    await relister.run_once()
    assert len(lists.asked) == len(ALL) * len(namespaces or ("ns",))
    lists.asked.clear()
    task = asyncio.create_task(relister.run(stop))
    try:
        yield relister
    finally:
        stop.set()
        await task


async def breaths() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_kind_that_the_watch_layer_lists_is_listed_once() -> None:
    lists = Lists()
    async with running(lists, FakeClock()) as relister:
        relister.listed(k.DEPLOYMENT, "ns")
        relister.listed(k.DEPLOYMENT, "ns")
        await breaths()
        assert lists.asked == ["Deployment"]
        relister.listed(k.POD, "ns")
        await breaths()
        assert lists.asked == ["Deployment", "Pod"]


async def test_only_the_namespace_that_was_listed_is_listed_again() -> None:
    lists = Lists()
    async with running(lists, FakeClock(), "here", "there") as relister:
        for _ in range(3):
            relister.listed(k.POD, "there")
            await breaths()
        assert lists.asked == ["there/Pod"] * 3


@pytest.mark.usefixtures("impatient")
async def test_a_kind_that_cannot_be_listed_holds_up_no_other() -> None:
    lists, clock = Lists(), FakeClock()
    async with running(lists, clock) as relister:
        lists.away = k.POD
        clock.advance(c.KUBE_RELIST_S)
        relister.listed(k.POD, "ns")
        await eventually(lambda: set(lists.asked) == set(ALL) and lists.asked.count("Pod") >= 3, poll=0.01)
        assert [lists.asked.count(kind) for kind in ALL if kind != "Pod"] == [1] * (len(ALL) - 1)
        assert relister.age_s == c.KUBE_RELIST_S  # 还没有列全
        lists.away = None
        await eventually(lambda: relister.age_s == 0, poll=0.01)


async def test_kinds_that_are_listed_again_and_again_put_off_no_full_lists() -> None:
    lists, clock = Lists(), FakeClock()
    async with running(lists, clock) as relister:
        clock.advance(c.KUBE_RELIST_S - 1)
        relister.listed(k.POD, "ns")
        await breaths()
        assert lists.asked == ["Pod"]
        clock.advance(1)
        relister.listed(k.POD, "ns")
        await breaths()
        assert sorted(lists.asked[1:]) == ALL
        assert relister.age_s == 0


@pytest.mark.usefixtures("impatient")
async def test_a_list_that_fails_is_made_soon_again() -> None:
    lists = Lists()
    async with running(lists, FakeClock()) as relister:
        lists.broken = 2
        relister.listed(k.JOB, "ns")
        await eventually(lambda: lists.asked == ["Job"] * 3, poll=0.01)
        await breaths()
        assert lists.asked == ["Job"] * 3


class Refused(Lists):
    """A server that refuses to list in some namespaces."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.refused = set(refused)

    async def list(self, kind: Kind, namespace: str) -> tuple[list[Any], str]:
        found = await super().list(kind, namespace)
        if namespace in self.refused:
            raise ForbiddenError("list", kind.plural, 403, "Forbidden", "no RoleBinding")
        return found


async def test_a_namespace_that_may_not_be_read_costs_itself_alone() -> None:
    lists, clock, found = Refused("gone"), FakeClock(), list[str]()
    client, tenants = cast("Any", lists), Tenants(("gone", "here"), found.append)
    relister = Relister(client, tenants, lambda *_: None, lambda: None, clock)
    await relister.run_once()
    assert relister.age_s == 0  # 别的都列全了
    assert sorted(each for each in lists.asked if each.startswith("here")) == [f"here/{kind}" for kind in ALL]
    assert [each for each in lists.asked if each.startswith("gone")] == ["gone/TaskQueue"]  # 不必问九遍
    assert (tenants.lost, str(tenants.error("gone"))) == ({"gone"}, "list taskqueues: 403 Forbidden: no RoleBinding")
    lists.asked.clear()
    clock.advance(c.KUBE_LOST_RETRY_S - 1)
    await relister.run_once()
    assert lists.asked == []
    clock.advance(1)
    await relister.run_once()
    assert lists.asked == ["gone/TaskQueue"]
    assert found == []
    lists.refused.clear()
    clock.advance(c.KUBE_LOST_RETRY_S)
    await relister.run_once()
    assert (tenants.lost, tenants.error("gone"), found) == (frozenset(), None, ["gone"])
    assert len(lists.asked) == 1 + len(ALL)


async def test_the_whole_cluster_is_not_given_up() -> None:
    lists = Refused("")
    client: Any = lists
    tenants = Tenants(())
    with pytest.raises(ForbiddenError):
        await Relister(client, tenants, lambda *_: None, lambda: None, FakeClock()).run_once()
    assert tenants.lost == frozenset()


@pytest.mark.parametrize(
    ("refused", "words"), [({"gone"}, ""), ({"gone", "here"}, "list taskqueues: 403 Forbidden: no RoleBinding")]
)
async def test_one_namespace_that_answers_shows_that_the_crds_are_there(refused: set[str], words: str) -> None:
    class Client(Refused):
        async def get(self, kind: Kind, namespace: str, name: str) -> None:
            raise ForbiddenError("get", kind.plural, 403, "Forbidden", "no right to read CRDs")

        async def described(self, kind: Kind) -> str:
            return "Workers of one queue. Schema version 1."

    client: Any = Client(*refused)
    assert await missing_crds(client, ("gone", "here"), 1) == words


@pytest.mark.parametrize(
    ("annotation", "description", "needed", "words"),
    [
        ("1", "", 1, ""),
        ("0", "", 1, "has schema version 0, this operator needs 1"),
        ("1", "Workers. Schema version 2.", 2, "has schema version 1, this operator needs 2"),  # 注解说了算
        ("", "Workers. Schema version 2.", 2, ""),  # 没有注解的，看说明
        (None, "Workers. Schema version 1.", 1, ""),
        (None, "Workers.", 1, ""),  # 第一版的说明里还没有写
        (None, "Workers.", 2, "has schema version 1, this operator needs 2"),
        (None, "", 1, ""),
        (None, None, 1, ""),  # 什么都读不到：不知道就不拦
    ],
)
async def test_old_crds_are_noticed_without_the_right_to_read_crds(
    annotation: str | None, description: str | None, needed: int, words: str
) -> None:
    refused = ForbiddenError("get", "x", 403, "Forbidden", "no")

    class Client(Lists):
        async def get(self, kind: Kind, namespace: str, name: str) -> Any:
            if annotation is None:
                raise refused
            return {"metadata": {"annotations": {"taskmill.dev/schema-version": annotation}}}

        async def described(self, kind: Kind) -> str:
            if description is None:
                raise refused
            return description

    client: Any = Client()
    assert (await missing_crds(client, (), needed)).removeprefix("taskqueues.taskmill.dev ") == words
