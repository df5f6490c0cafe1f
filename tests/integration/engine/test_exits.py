"""However an attempt ends, its slot comes back and it has one outcome; the worker works on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from taskmill import task
from taskmill.cli import ending
from taskmill.engine import constants as c
from taskmill.engine.worker import WorkerRole
from taskmill.errors import UnavailableError
from taskmill.plugin.definition import RetryPolicy
from tests.support.engines import Engine, attempts, decoded, final, in_state, platform_of, running, staged, submit, worker_on
from tests.support.waiting import eventually

ONCE = RetryPolicy(max_attempts=1)
BOTH = (SystemExit, KeyboardInterrupt)


class ExitingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


async def _raise(error: BaseException) -> None:
    raise error


async def direct(error: BaseException) -> None:
    raise error


async def child(error: BaseException) -> None:
    await asyncio.create_task(_raise(error))


async def gathered(error: BaseException) -> None:
    await asyncio.gather(_raise(error), asyncio.sleep(60))


async def grouped(error: BaseException) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_raise(error))


async def to_thread(error: BaseException) -> None:
    def work() -> None:
        raise error

    await asyncio.to_thread(work)


async def future(error: BaseException) -> None:
    promised: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    promised.set_exception(error)
    await promised


async def callback(error: BaseException) -> None:
    def work() -> None:
        raise error

    asyncio.get_running_loop().call_soon(work)
    await asyncio.sleep(0.01)
    raise error


def plain(error: BaseException) -> None:
    raise error


@task("test.echo")
async def echo(n: int) -> int:
    return n


@task("test.wait")
async def wait() -> str:
    await asyncio.sleep(1)
    return "fine"


@pytest.mark.parametrize(
    "way", [direct, child, gathered, grouped, to_thread, future, callback, plain], ids=lambda w: w.__name__
)
@pytest.mark.parametrize(
    "error",
    [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, ExitingError, BaseException],
    ids=lambda e: e.__name__,
)
def test_one_failed_attempt_and_the_worker_works_on(
    database_url: str, broker_url: str, way: Callable[[BaseException], Any], error: type[BaseException]
) -> None:
    """Twice as many of them as there are slots; a neighbour that runs meanwhile ends well."""
    if way is plain:
        rude = task("test.rude", retry=ONCE)(lambda: plain(error("x")))
    else:

        @task("test.rude", retry=ONCE)
        async def rude() -> None:
            await way(error("x"))

    async def main() -> None:
        async with running(database_url, broker_url, rude, echo, wait, concurrency=3) as platform:
            neighbour = await submit(platform, "test.wait")
            for task_id in [await submit(platform, "test.rude") for _ in range(6)]:
                row = await final(platform, task_id)
                # 子任务自己取消自己，在任务组里不算失败
                fine = way is grouped and error is asyncio.CancelledError
                assert row["state"] == ("completed" if fine else "discarded")
                assert [a["cause"] for a in await attempts(platform, task_id)] == ([] if fine else ["error"])
            assert decoded((await final(platform, await submit(platform, "test.echo", {"n": 1})))["result"]) == 1
            row = await final(platform, neighbour)
            assert (row["state"], row["crash_count"], row["claim_no"]) == ("completed", 0, 1)

    ending.run(main(), survive=BOTH)


def _swallow() -> tuple[asyncio.Event, Callable[[], Awaitable[None]]]:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    return release, stubborn


@pytest.mark.anyio
async def test_a_slot_lost_to_a_handler_that_swallows_its_cancellation_is_replaced(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c, "STUBBORN_S", 0.2)
    release, stubborn = _swallow()
    made = task("test.stubborn", timeout=0.2, retry=ONCE)(stubborn)
    async with (
        platform_of(database_url, broker_url, made, echo) as platform,
        staged(platform),
        worker_on(platform, concurrency=1) as engine,
    ):
        late = await submit(platform, "test.stubborn")
        row = await final(platform, late)
        assert (row["state"], decoded(row["error"])["type"]) == ("discarded", "TimeoutError")
        assert (await final(platform, await submit(platform, "test.echo", {"n": 1})))["state"] == "completed"
        assert engine.worker.vitals.abandoned == 1
        release.set()
        await eventually(lambda: engine.worker.vitals.abandoned == 0)
        assert engine.worker.settler.settled == 2
        assert [a["cause"] for a in await attempts(platform, late)] == ["timeout"]


@pytest.mark.anyio
async def test_a_cancel_that_is_swallowed_ends_the_attempt_all_the_same(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c, "STUBBORN_S", 0.2)
    release, stubborn = _swallow()
    async with running(database_url, broker_url, task("test.stubborn")(stubborn), concurrency=1) as platform:
        task_id = await submit(platform, "test.stubborn")
        await in_state(platform, task_id, "running")
        await platform.tasks.cancel(task_id)
        assert (await final(platform, task_id))["state"] == "cancelled"
        release.set()


@pytest.mark.anyio
async def test_too_many_stubborn_handlers_and_the_worker_asks_to_be_replaced(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c, "STUBBORN_S", 0.1)
    release, stubborn = _swallow()
    made = task("test.stubborn", timeout=0.1, retry=ONCE)(stubborn)
    settings = {"threads_abandoned_max": 2, "drain_grace_s": 0.1}
    async with platform_of(database_url, broker_url, made, **settings) as platform, staged(platform):
        engine = await Engine(platform, WorkerRole(platform, (), 1)).start()
        for _ in range(2):
            await submit(platform, "test.stubborn")
        assert engine.task is not None
        with pytest.raises(UnavailableError, match="WORKER_WORN_OUT"):
            await engine.task
        release.set()


@pytest.mark.anyio
async def test_a_drain_hands_back_what_swallows_its_cancellation_once(database_url: str, broker_url: str) -> None:
    release, stubborn = _swallow()
    async with platform_of(database_url, broker_url, task("test.stubborn")(stubborn), drain_grace_s=0.1) as platform:
        task_id = await submit(platform, "test.stubborn")
        engine = await Engine(platform, WorkerRole(platform, (), 1)).start()
        await in_state(platform, task_id, "running")
        assert await engine.halt() == 1
        row = await in_state(platform, task_id, "available")
        assert (row["attempt"], row["crash_count"]) == (0, 0)
        assert [a["cause"] for a in await attempts(platform, task_id)] == ["drain"]
        release.set()


@pytest.mark.anyio
async def test_a_slot_without_a_living_attempt_is_found(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the end of an attempt itself fail, the slot is not lost and the task has an outcome."""
    release = threading.Event()

    async def broken(*_: object) -> None:
        release.set()
        raise RuntimeError

    async with (
        platform_of(database_url, broker_url, echo) as platform,
        staged(platform),
        worker_on(platform, concurrency=1) as engine,
    ):
        slots = engine.worker.slots
        with monkeypatch.context() as patch:
            patch.setattr(type(slots), "_run", broken)
            task_id = await submit(platform, "test.echo", {"n": 1}, max_attempts=1)
            await eventually(release.is_set)
        row = await final(platform, task_id)
        assert (row["state"], decoded(row["error"])["type"]) == ("discarded", "TaskmillError")
        assert slots.running == {}
        assert (await final(platform, await submit(platform, "test.echo", {"n": 2})))["state"] == "completed"


class Stubborn(asyncio.Future[None]):
    """What a handler may wait for: an object of its own, which does not let itself be cancelled."""

    def cancel(self, msg: Any = None) -> bool:
        raise LookupError(msg)


@pytest.mark.anyio
async def test_a_cancel_that_raises_stops_neither_the_clock_of_others_nor_a_drain(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c, "STUBBORN_S", 0.2)

    promised = Stubborn()

    @task("test.rude", timeout=0.2, retry=ONCE)
    async def rude() -> None:
        await promised

    @task("test.slow", timeout=0.5, retry=ONCE)
    async def slow() -> None:
        await asyncio.sleep(60)

    async with running(database_url, broker_url, rude, slow) as platform:
        for task_id in [await submit(platform, "test.rude"), await submit(platform, "test.slow")]:
            row = await final(platform, task_id)
            assert (row["state"], decoded(row["error"])["type"]) == ("discarded", "TimeoutError")
        promised.set_result(None)
