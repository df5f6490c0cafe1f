"""Slots: which attempts run, which claimed rows wait for a slot, and how many more may be claimed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine.attempts.attempt import Attempt, Stop
from taskmill.engine.attempts.outcomes import handed_back, judged, unusable
from taskmill.engine.attempts.receiver import TaskmillReceiver
from taskmill.engine.settler import Settler
from taskmill.log import get_logger
from taskmill.plugin.executors import leftover
from taskmill.stores.arrays import Fence
from taskmill.stores.tasks.settle import Outcome

log = get_logger(__name__)


class Slots:
    """At most `concurrency` attempts run. Claimed rows wait in `ready` only while recent attempts are short.

    Whatever ends an attempt, its slot comes back and it has one outcome. `abandoned` are coroutines that swallowed their
    cancellation: their slot went to others, what they return counts no more. The limit of a queue counts them, and threads
    that hang, until they have really ended: their outcome is held so long. Nothing starts while `entitled` says no: the
    lease may be over, and others may run it already.
    """

    def __init__(self, concurrency: int, receiver: TaskmillReceiver, settler: Settler) -> None:
        self.concurrency = concurrency
        self._receiver = receiver
        self._settler = settler
        self.running: dict[Fence, Attempt] = {}
        self.ready: deque[Attempt] = deque()
        self.abandoned: set[asyncio.Task[None]] = set()
        self.reserved = 0  # 正在读取、认领的名额
        self.reading = 0  # 正在读取、认领的读取者
        self.free = asyncio.Event()
        self.entitled: Callable[[], bool] = lambda: True
        self.suspect: Attempt | None = None  # 在跑的可疑任务：它独占整个进程
        self.isolating = False  # 正腾空进程，好让可疑任务独自运行
        self.common_until = 0.0  # 到此时刻为止进程归大家：可疑任务占了多久，就还多久
        self._mean_s = 1.0  # 运行时间的指数平均

    def room(self) -> int:
        """Return how many tickets may be read now."""
        if self.suspect is not None or self.isolating or self._settler.backlog >= ec.UNSETTLED_MAX:
            return 0
        return min(ec.READ_MAX, self._target() - len(self.running) - len(self.ready) - self.reserved)

    async def wait_for_room(self) -> None:
        """Wait until places may have come free, a tick at most."""
        self.free.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(ec.TICK_S):  # 3.11 的 wait_for 可能吞掉取消
                await self.free.wait()

    @contextmanager
    def reserve(self, room: int) -> Iterator[None]:
        """Keep so many places for what is read and claimed during the block."""
        self.reserved += room
        self.reading += 1
        try:
            yield
        finally:
            self.reserved -= room
            self.reading -= 1

    @property
    def empty(self) -> bool:
        """Say whether this worker holds no row at all, not even one whose outcome is still to be written."""
        return not self.running and not self.ready and self._settler.backlog == 0

    def _target(self) -> int:
        """运行中与待运行的总数：任务短才预取，且只取很快就能开始的那么多。"""
        if self._mean_s >= ec.PREFETCH_FAST_S:
            return self.concurrency
        return self.concurrency + min(
            ec.PREFETCH_MAX, int(self.concurrency * ec.PREFETCH_TARGET_S / max(self._mean_s, 1e-6))
        )

    def known(self) -> set[Fence]:
        """Return the fences of everything this worker holds: running, ready, awaiting settle."""
        return {*self.running, *(attempt.key for attempt in self.ready), *self._settler.unsettled}

    def add(self, attempt: Attempt) -> None:
        """Start a claimed row, or let it wait for a slot."""
        if attempt.row["crash_count"] >= c.SUSPECT_FROM:
            self.suspect = attempt
        if len(self.running) < self.concurrency:
            self._start(attempt)
        else:
            self.ready.append(attempt)

    def _start(self, attempt: Attempt) -> None:
        self.running[attempt.key] = attempt
        attempt.expires = time.monotonic() + attempt.row["timeout_ms"] / 1000
        attempt.task = asyncio.create_task(self._run(attempt))
        attempt.task.add_done_callback(partial(self._over, attempt))

    async def _run(self, attempt: Attempt) -> None:
        started, outcome = time.monotonic(), None
        if attempt.row["slot"] is not None:
            attempt.calls = []
            leftover.gather(attempt.calls)
        try:
            # 刚从冻结中醒来时，认领的回复还在路上、开始的协程还排着队，而租约已失：别人也许已在跑
            outcome = await self._receiver.execute(attempt) if self.entitled() else handed_back(attempt)
        except BaseException as error:  # noqa: BLE001 - GeneratorExit 会关掉 execute，直接落到这里
            outcome = judged(attempt, error)
        finally:
            self._mean_s += 0.1 * (time.monotonic() - started - self._mean_s)
            self._end(attempt, outcome)

    def _over(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        """协程没了而名额还占着（第一步之前就被取消，或收尾自己出了错）：补上结局，否则名额永远收不回。"""
        if attempt.key not in self.running:
            return
        error = None if task.cancelled() else task.exception()
        self._end(attempt, judged(attempt, asyncio.CancelledError()) if error is None else unusable(attempt, error))

    def _end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        if self.running.pop(attempt.key, None) is None:
            return  # 早已放弃，结局已经写下
        if self.suspect is attempt:
            now = time.monotonic()
            self.suspect, self.common_until = None, now + (now - attempt.claimed)
        if outcome is not None:
            self._put(attempt, outcome)
        while self.ready and len(self.running) < self.concurrency:
            self._start(self.ready.popleft())
        # 短任务攒到一半再领，一次领一批；长任务有空位就领
        if not self.free.is_set() and (
            self._mean_s >= ec.PREFETCH_FAST_S or len(self.ready) + len(self.running) <= self._target() // 2
        ):
            self.free.set()

    def _put(self, attempt: Attempt, outcome: Outcome) -> None:
        """占着队列上限名额的，要等它真正结束：超时的线程还在跑，名额就还不能给别人。"""
        left: list[Future[Any] | asyncio.Task[None]] = [call for call in attempt.calls or () if not call.done()]
        if attempt.calls is not None and attempt.task in self.abandoned:
            left.append(attempt.task)
        if not left:
            self._settler.put(outcome)
            return
        log.warning("处理函数还没真正结束，上限的名额先留着", task_id=str(outcome.id), kind=outcome.kind)
        self._settler.hold(outcome)
        loop = asyncio.get_running_loop()
        for call in left:
            call.add_done_callback(lambda _: _tell(loop, partial(self._let_go, attempt.key, left)))

    def _let_go(self, key: Fence, left: Sequence[Future[Any] | asyncio.Task[None]]) -> None:
        if all(call.done() for call in left):
            self._settler.let_go(key)

    def tick(self) -> None:
        """Stop what ran out of time, give up what does not stop, hand back what waited too long for a slot."""
        now = time.monotonic()
        for attempt in list(self.running.values()):
            if attempt.task is not None and attempt.task.done():
                self._over(attempt, attempt.task)
            elif attempt.halted_at is not None and now - attempt.halted_at > ec.STUBBORN_S:
                self._abandon(attempt)
            elif now >= attempt.expires:
                attempt.halt(Stop.TIMEOUT)
        while self.ready and now - self.ready[0].claimed > ec.PREFETCH_MAX_WAIT_S:
            self.hand_back(self.ready.popleft())
            self.free.set()

    def _abandon(self, attempt: Attempt) -> None:
        """处理函数吞掉了取消：名额给别人，它此后的结果作废。"""
        if attempt.task is not None and not attempt.task.done():
            self.abandoned.add(attempt.task)
            attempt.task.add_done_callback(self.abandoned.discard)
            log.warning("处理函数不理会取消，已放弃它", task_id=str(attempt.row["id"]), kind=attempt.row["kind"])
        self._end(attempt, judged(attempt, asyncio.CancelledError()))

    def hand_back(self, attempt: Attempt) -> None:
        """Give a claimed row back that has not started; one that somebody asked to cancel thereby ends cancelled."""
        if self.suspect is attempt:
            self.suspect = None
        self._settler.put(handed_back(attempt))

    def forget_ready(self) -> None:
        """Drop rows that have not started: the lease is lost, they belong to others."""
        self.ready.clear()
        if self.suspect is not None and self.suspect.key not in self.running:
            self.suspect = None

    def hand_back_ready(self, only: Collection[UUID] | None = None) -> int:
        """Give rows back that have not started, all or those with these ids; returns how many."""
        chosen = [attempt for attempt in self.ready if only is None or attempt.row["id"] in only]
        for attempt in chosen:
            self.ready.remove(attempt)
            self.hand_back(attempt)
        return len(chosen)

    def halt(self, stop: Stop, *, only: Callable[[Attempt], bool] = lambda _: True) -> int:
        """Stop running attempts from outside; returns how many."""
        chosen = [attempt for attempt in self.running.values() if only(attempt)]
        for attempt in chosen:
            attempt.halt(stop)
        return len(chosen)

    def cut(self) -> None:
        """Give up whatever still runs, now."""
        for attempt in list(self.running.values()):
            self._abandon(attempt)

    async def idle(self, seconds: float) -> bool:
        """Wait until nothing runs, for at most `seconds`; says whether that came true."""
        deadline = time.monotonic() + seconds
        while self.running and (left := deadline - time.monotonic()) > 0:
            tasks = [attempt.task for attempt in self.running.values() if attempt.task is not None]
            await asyncio.wait(tasks, timeout=min(left, ec.IDLE_POLL_S))
        return not self.running


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    """线程结束时循环也许已经关了：结局在停机时就写下了。"""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what)
