"""A handler in a thread always comes to an end that its worker can see, and one that hangs takes nothing with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from taskmill import constants as c
from taskmill import task
from taskmill.ids import new_id
from taskmill.plugin.context import TaskContext
from taskmill.plugin.executors.daemon_pool import DaemonPool
from taskmill.plugin.executors.thread import ThreadExecutor
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
CONTEXT = TaskContext(new_id(), "a.b", "default", 1, 1, 5, datetime.now(UTC))


@task("thread.exhausted")
def exhausted() -> int:
    """Raise StopIteration, which a Future does not take."""
    return next(iter([]))


@task("thread.answer")
def answer() -> int:
    """Return a value."""
    return 42


class Door:
    """A handler that hangs until the test opens the door."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            self.inside += 1
        self.open.wait(300)
        with self._lock:
            self.inside -= 1


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.open.set()


async def hang(executor: ThreadExecutor, door: Door, count: int) -> None:
    """Let so many handlers hang and cancel them, as a timeout does."""
    stuck = task("thread.hang")(door.wait)
    before = door.inside
    running = [asyncio.create_task(executor.run(stuck, {}, CONTEXT)) for _ in range(count)]
    await eventually(lambda: door.inside == before + count)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_stop_iteration_becomes_an_error_instead_of_a_hang() -> None:
    executor = ThreadExecutor(2)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await executor.run(exhausted, {}, CONTEXT)
    assert await executor.run(answer, {}, CONTEXT) == 42
    await executor.close()


@contextmanager
def no_new_threads() -> Iterator[None]:
    """Make every start of a thread fail, as at the limit of processes: no stack is that large."""
    usual = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(usual)


def test_a_call_that_was_refused_for_want_of_a_thread_never_runs_and_takes_no_place() -> None:
    pool, called = DaemonPool(1), list[int]()
    with no_new_threads(), pytest.raises(RuntimeError, match="thread"):
        pool.submit(called.append, 1)
    pool.submit(called.append, 2).result(60)
    assert called == [2]
    pool.shutdown()


def test_a_call_waits_for_a_thread_at_work_if_no_other_can_be_started(door: Door) -> None:
    pool = DaemonPool(2)
    first = pool.submit(door.wait)
    with no_new_threads():
        second = pool.submit(int)
    door.open.set()
    assert (first.result(60), second.result(60)) == (None, 0)
    pool.shutdown()


async def test_threads_that_hang_leave_their_places_to_others(door: Door) -> None:
    executor = ThreadExecutor(2)
    for _ in range(3):
        await hang(executor, door, 2)
    assert door.inside == 6
    assert await asyncio.gather(*(executor.run(answer, {}, CONTEXT) for _ in range(20))) == [42] * 20
    await executor.close()


async def test_what_waits_for_a_place_is_not_called_after_a_cancel(door: Door) -> None:
    executor, called = ThreadExecutor(1), threading.Event()
    first = asyncio.create_task(executor.run(task("thread.hang")(door.wait), {}, CONTEXT))
    await eventually(lambda: door.inside == 1)
    second = asyncio.create_task(executor.run(task("thread.set")(called.set), {}, CONTEXT))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)  # 取消要转一圈才到池里
    door.open.set()
    await first
    assert await executor.run(answer, {}, CONTEXT) == 42
    assert not called.is_set()
    await executor.close()


async def test_a_waiting_call_gets_the_place_of_a_thread_that_is_written_off(door: Door) -> None:
    executor = ThreadExecutor(1)
    first = asyncio.create_task(executor.run(task("thread.hang")(door.wait), {}, CONTEXT))
    await eventually(lambda: door.inside == 1)
    second = asyncio.create_task(executor.run(answer, {}, CONTEXT))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 42
    await executor.close()


async def test_the_pool_never_has_more_workers_than_places(door: Door) -> None:
    pool = DaemonPool(3)
    jobs = [pool.submit(door.wait) for _ in range(10)]
    await eventually(lambda: door.inside == 3)
    assert sum(thread.name == "task" and thread.is_alive() for thread in threading.enumerate()) == 3
    door.open.set()
    await eventually(lambda: all(job.done() for job in jobs))
    pool.shutdown()


async def test_it_asks_for_its_end_when_too_many_hang_for_too_long(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ThreadExecutor(4, abandoned_max=3)
    await hang(executor, door, 3)
    assert not executor.exhausted  # 刚被取消的也许正在收尾
    monkeypatch.setattr(c, "DEADLINE_GRACE_S", 0.0)
    assert executor.exhausted
    door.open.set()
    await eventually(lambda: not executor.exhausted, why="those that come back no longer count")
    await executor.close()


async def test_a_closed_pool_cancels_what_has_not_started(door: Door) -> None:
    pool = DaemonPool(1)
    pool.submit(door.wait)
    waiting: Any = pool.submit(answer.function)
    pool.shutdown()
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(answer.function)


def test_a_process_does_not_wait_for_threads_that_hang() -> None:
    script = (
        "import threading\nfrom taskmill.plugin.executors.daemon_pool import DaemonPool\n"
        "entered = threading.Event()\n"
        "def hang():\n    entered.set()\n    threading.Event().wait()\n"
        "DaemonPool(1).submit(hang)\nentered.wait()\nprint('end')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "end"), done.stderr
