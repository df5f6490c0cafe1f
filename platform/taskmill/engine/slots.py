"""Slots: which attempts run, which claimed rows wait for a slot, and how many more may be claimed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from uuid import UUID

from taskmill import constants as c
from taskmill.engine.attempt import Attempt, Stop, handed_back, stopped, unusable
from taskmill.engine.receiver import TaskmillReceiver
from taskmill.engine.settler import Settler
from taskmill.log import get_logger
from taskmill.stores.task_settle import Outcome

log = get_logger(__name__)


class Slots:
    """At most `concurrency` attempts run. Claimed rows wait in `ready` only while recent attempts are short."""

    def __init__(self, concurrency: int, receiver: TaskmillReceiver, settler: Settler) -> None:
        self.concurrency = concurrency
        self._receiver = receiver
        self._settler = settler
        self.running: dict[tuple[UUID, int], Attempt] = {}
        self.ready: deque[Attempt] = deque()
        self.reserved = 0  # 正在读取、认领的名额
        self.free = asyncio.Event()
        self._mean_s = 1.0  # 运行时间的指数平均

    def room(self) -> int:
        """Return how many tickets may be read now."""
        if self._settler.backlog >= c.UNSETTLED_MAX:
            return 0
        return min(c.READ_MAX, self._target() - len(self.running) - len(self.ready) - self.reserved)

    def _target(self) -> int:
        """运行中与待运行的总数：任务短才预取，且只取很快就能开始的那么多。"""
        if self._mean_s >= c.PREFETCH_FAST_S:
            return self.concurrency
        return self.concurrency + min(c.PREFETCH_MAX, int(self.concurrency * c.PREFETCH_TARGET_S / max(self._mean_s, 1e-6)))

    def known(self) -> set[tuple[UUID, int]]:
        """Return the fences of everything this worker holds: running, ready, awaiting settle."""
        return {*self.running, *(attempt.key for attempt in self.ready), *self._settler.unsettled}

    def add(self, attempt: Attempt) -> None:
        """Start a claimed row, or let it wait for a slot."""
        if len(self.running) < self.concurrency:
            self._start(attempt)
        else:
            self.ready.append(attempt)

    def _start(self, attempt: Attempt) -> None:
        self.running[attempt.key] = attempt
        attempt.expires = time.monotonic() + attempt.row["timeout_ms"] / 1000
        attempt.task = asyncio.create_task(self._run(attempt))
        attempt.task.add_done_callback(partial(self._never_ran, attempt))

    def _never_ran(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        """协程还没迈出第一步就被取消：它的收尾不会执行，由这里补上，否则名额永远收不回。"""
        if task.cancelled() and attempt.key in self.running:
            self._end(attempt, stopped(attempt))

    async def _run(self, attempt: Attempt) -> None:
        started = time.monotonic()
        try:
            outcome = await self._receiver.execute(attempt)
        except Exception as error:
            log.exception("结局无法得出，记为失败", task_id=str(attempt.row["id"]))
            outcome = unusable(attempt, error)
        self._mean_s += 0.1 * (time.monotonic() - started - self._mean_s)
        self._end(attempt, outcome)

    def _end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        del self.running[attempt.key]
        if outcome is not None:
            self._settler.put(outcome)
        if self.ready and len(self.running) < self.concurrency:
            self._start(self.ready.popleft())
        # 短任务攒到一半再领，一次领一批；长任务有空位就领
        if self._mean_s >= c.PREFETCH_FAST_S or len(self.ready) + len(self.running) <= self._target() // 2:
            self.free.set()

    def tick(self) -> None:
        """Stop what ran out of time and hand back what waited too long for a slot."""
        now = time.monotonic()
        for attempt in list(self.running.values()):
            if now >= attempt.expires:
                attempt.halt(Stop.TIMEOUT)
        while self.ready and now - self.ready[0].claimed > c.PREFETCH_MAX_WAIT_S:
            self._hand_back(self.ready.popleft())
            self.free.set()

    def _hand_back(self, attempt: Attempt) -> None:
        self._settler.put(handed_back(attempt.row, attempt.worker_id))

    def forget_ready(self) -> None:
        """Drop rows that have not started: the lease is lost, they belong to others."""
        self.ready.clear()

    def hand_back_ready(self) -> int:
        """Give all rows back that have not started; returns how many."""
        count = len(self.ready)
        while self.ready:
            self._hand_back(self.ready.popleft())
        return count

    def halt(self, stop: Stop, *, only: Callable[[Attempt], bool] = lambda _: True) -> int:
        """Stop running attempts from outside; returns how many."""
        chosen = [attempt for attempt in self.running.values() if only(attempt)]
        for attempt in chosen:
            attempt.halt(stop)
        return len(chosen)

    async def idle(self, seconds: float) -> bool:
        """Wait until nothing runs, for at most `seconds`; says whether that came true."""
        tasks = [attempt.task for attempt in self.running.values() if attempt.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        return not self.running
