"""Events cross from the thread of the watch into our loop: none is left behind, whoever is switched off when."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from structlog.testing import capture_logs

from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import ForbiddenError
from taskmill.kube.apiserver.kopf.bounded import run_bounded
from taskmill.kube.apiserver.kopf.crossing import Crossing
from taskmill.kube.apiserver.kopf.watch import Watch, WatchConfig, restart_pause
from taskmill.kube.apiserver.tenants import Tenants
from tests.support.waiting import eventually


class Interrupted(deque[Any]):
    """Whoever asks whether it is empty is switched off before it hears the answer, and the other side runs."""

    other_side: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        answer = len(self) > 0
        other, self.other_side = self.other_side, None
        if other is not None:
            other()
        return answer


def unheard(_kind: k.Kind, _namespace: str) -> None:
    """Take no notice of a list."""


@pytest.mark.anyio
async def test_no_event_is_left_behind() -> None:
    seen: list[str] = []
    events = Interrupted()
    crossing = Crossing(lambda _kind, _change, manifest: seen.append(manifest["name"]), events)
    events.append((k.POD, "ADDED", {"name": "first"}))  # 读的一方正在取：还剩一个
    events.other_side = crossing.drain  # 写的一方刚看过还有没有，读的一方就取光了
    crossing.put(k.POD, "ADDED", {"name": "second"})
    crossing.put(k.POD, "ADDED", {"name": "third"})
    await eventually(lambda: seen == ["first", "second", "third"], timeout=2)


@pytest.mark.anyio
async def test_an_event_that_cannot_be_taken_in_holds_up_no_other() -> None:
    seen: list[str] = []

    def sink(_kind: k.Kind, _change: str, manifest: dict[str, Any]) -> None:
        seen.append(manifest["metadata"]["name"])

    crossing = Crossing(sink)
    for manifest in ({}, {"metadata": {"name": "second"}}):
        crossing.put(k.POD, "", manifest)
    await eventually(lambda: seen == ["second"])


def test_a_watch_that_does_not_end_is_left_behind() -> None:
    refused = 0

    async def stubborn() -> None:
        nonlocal refused
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                refused += 1

    async def work() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        assert not task.done()

    run_bounded(work(), 0.05)  # asyncio.run 会永远等下去
    assert refused == 1
    gc.collect()  # 丢下的任务在这里被回收，它的怨言不要落进别的测试的日志


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("alive", "listed", "waits"),
    [
        pytest.param(9, True, True, id="all-there"),
        pytest.param(8, True, False, id="one-died-before-anybody-looked"),
        pytest.param(0, True, False, id="all-died-before-anybody-looked"),
        pytest.param(0, False, True, id="none-has-begun-yet"),
    ],
)
async def test_a_watch_that_is_missing_is_noticed(alive: int, listed: bool, waits: bool) -> None:
    watch = Watch(Tenants(()), lambda *_: None, unheard, config=WatchConfig(guard_s=0.001))
    assert len(k.WATCHED) == 9
    watchers = [asyncio.create_task(asyncio.Event().wait(), name=f"watcher for {number}") for number in range(alive)]
    if listed:
        watch.note_list(k.POD.path())
    looking = asyncio.create_task(watch.until_one_is_missing(frozenset()))
    done, _ = await asyncio.wait((looking,), timeout=0.2 if waits else 5)
    assert bool(done) is not waits
    for task in (*watchers, looking):
        task.cancel()
    await asyncio.gather(*watchers, looking, return_exceptions=True)


@pytest.mark.anyio
async def test_watches_that_never_begin_are_noticed() -> None:
    config = WatchConfig(guard_s=0.001, start_s=0.01)
    async with asyncio.timeout(5):
        await Watch(Tenants(()), lambda *_: None, unheard, config=config).until_one_is_missing(frozenset())


@pytest.mark.anyio
async def test_the_kind_of_a_list_is_told_and_no_other_path() -> None:
    told: list[tuple[k.Kind, str]] = []
    watch = Watch(Tenants(("here", "there")), lambda *_: None, lambda *each: told.append(each))
    for path in ("/apis/apps/v1", k.DEPLOYMENT.path("there"), k.DEPLOYMENT.path("elsewhere"), k.POD.path("here")):
        watch.note_list(path)
    await eventually(lambda: told == [(k.DEPLOYMENT, "there"), (k.POD, "here")])


@pytest.mark.anyio
async def test_that_a_kind_may_be_listed_and_not_watched_is_told_once() -> None:
    watch = Watch(Tenants(("here",)), lambda *_: None, unheard)
    with capture_logs() as lines:
        for path in (k.POD.path("here"), k.POD.path("here"), "/apis/apps/v1"):
            watch.note_refusal(path)
    assert [(line["log_level"], line["verb"], line["kind"], line["namespace"]) for line in lines] == [
        ("error", "watch", "pods", "here")
    ]


def test_a_watch_that_cancels_everything_when_it_is_cancelled_is_ended() -> None:
    async def vengeful() -> None:
        try:
            await asyncio.Event().wait()
        finally:  # kopf 也这样：它被取消时，取消循环里所有它不认识的任务
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

    made: list[asyncio.Task[None]] = []

    async def work() -> None:
        made.append(asyncio.create_task(vengeful()))
        await asyncio.sleep(0)

    run_bounded(work())
    assert made[0].done()
    assert made[0].get_loop().is_closed()


@pytest.mark.parametrize(
    ("before", "lived_s", "pause"),
    [(0, 0, 1), (1, 59.9, 2), (2, 0, 4), (8, 0, 10), (10, 0, 10), (10, 60, 1)],
)
def test_a_watch_that_dies_again_and_again_is_begun_ever_later(before: float, lived_s: float, pause: float) -> None:
    assert restart_pause(before, lived_s, WatchConfig()) == pause


@pytest.mark.anyio
async def test_a_watch_that_was_begun_anew_leaves_no_thread() -> None:
    config = WatchConfig(restart_s=0.01, restart_max_s=0.01, start_s=0.01, guard_s=0.05)

    async def load() -> Configuration:
        return Configuration(host="http://127.0.0.1:1")  # 没有谁在听

    await asyncio.to_thread(int)  # 停止时要用的那个线程，先让它在
    before = set(threading.enumerate())
    watch = Watch(Tenants(()), lambda *_: None, unheard, config=config, access=load)
    watch.start()
    await eventually(lambda: watch.restarts >= 3)
    assert {each.name for each in set(threading.enumerate()) - before} >= {"kopf"}
    await watch.stop()
    await eventually(lambda: not set(threading.enumerate()) - before)


@pytest.mark.anyio
async def test_a_namespace_that_is_lost_or_found_has_the_watches_begin_anew() -> None:
    tenants = Tenants(("gone", "here"))
    watch = Watch(tenants, lambda *_: None, unheard, config=WatchConfig(guard_s=0.001, start_s=60))
    looking = asyncio.create_task(watch.until_one_is_missing(tenants.lost))
    await asyncio.sleep(0.01)
    assert not looking.done()
    tenants.lose("gone", ForbiddenError("list", "pods", 403, "Forbidden", "no"))
    async with asyncio.timeout(5):
        await looking
