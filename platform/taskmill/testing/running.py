"""Runs tasks of the memory in the caller's own task, one after the other, by the worker's own code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from taskmill.clock import FakeClock
from taskmill.engine.attempts.attempt import Attempt, Stop
from taskmill.engine.attempts.execution import Execution
from taskmill.engine.attempts.outcomes import handed_back
from taskmill.engine.tally import Tally
from taskmill.errors import UnfitError
from taskmill.ids import new_id
from taskmill.log import attempt_in_log
from taskmill.plugin.registry import Registry
from taskmill.states import WAITING, State
from taskmill.stores.tasks.settle import Outcome
from taskmill.testing import reasons as tr
from taskmill.testing.memory import Memory, Row

_NEVER = datetime.max.replace(tzinfo=UTC)
_inside: ContextVar[Running | None] = ContextVar("taskmill_harness", default=None)  # 正在谁的处理函数里


class Running:
    """The worker of a harness."""

    def __init__(
        self,
        memory: Memory,
        registry: Registry,
        clock: FakeClock,
        submit: Callable[..., Any],
        result_max_bytes: int,
        drain_max: int,
    ) -> None:
        self._memory, self._clock, self._drain_max = memory, clock, drain_max
        self._kinds = registry.tasks
        self._execution = Execution(registry, result_max_bytes=result_max_bytes, submit=submit, clock=clock)
        self._attempts: dict[UUID, Attempt] = {}
        self._tally = Tally()
        self._worker_id = new_id()
        self._turn = asyncio.Lock()

    @property
    def inside(self) -> bool:
        """Say whether a handler of this harness asks, or what it started."""
        return _inside.get() is self

    async def drain(self, *, future: bool) -> int:
        """Run what is due until nothing is; with `future` move the clock to what waits for its time."""
        if self.inside:
            raise UnfitError(tr.DRAINING)
        ran = 0
        async with self._turn:
            while due := self._due(future=future):
                for row in due:
                    ran += await self._run(row, ran)
        return ran

    def next_due(self) -> datetime | None:
        """Return when the next waiting task that somebody serves may run or expires; what is blocked may expire only."""
        times = (min(_runs_at(row), row["expires_at"] or _NEVER) for row in self._waiting())
        return min((time for time in times if time is not _NEVER), default=None)

    def cancel(self, task_id: UUID) -> None:
        """Ask the handler to end, if the task runs."""
        if (attempt := self._attempts.get(task_id)) is not None:
            attempt.halt(Stop.CANCEL)

    async def close(self) -> None:
        """Release the executors."""
        await self._execution.stop()

    def _waiting(self) -> list[Row]:
        return [row for row in self._memory.live(WAITING) if (row["kind"], row["kind_version"]) in self._kinds]

    def _due(self, *, future: bool) -> list[Row]:
        """优先级在前，其次是提交的次序；没有到时间的，`future` 时把时钟拨过去。"""
        while True:
            for row in self._memory.stage():
                self._tally.expired(row["id"], row["kind"], row["queue"], row["attempt"])
            due = [row for row in self._waiting() if row["state"] is State.AVAILABLE]
            moment = self.next_due() if future and not due else None
            if moment is None:
                return sorted(due, key=lambda row: row["priority"])
            self._clock.advance((moment - self._clock.now()).total_seconds())

    async def _run(self, row: Row, ran: int) -> int:
        """返回执行了几次：前面的任务可能已把这一个取消、推后。"""
        expired = row["expires_at"] is not None and row["expires_at"] <= self._clock.now()
        if row["state"] is not State.AVAILABLE or expired:
            return 0
        if ran >= self._drain_max:
            raise UnfitError(tr.TOO_MANY(limit=self._drain_max))
        claimed, now = self._memory.claim(row, self._worker_id), self._clock.monotonic()
        definition = self._kinds[claimed["kind"], claimed["kind_version"]]
        attempt = Attempt(claimed, definition, self._worker_id, now, now)  # pyright: ignore[reportArgumentType] - 只按名字取列
        self._attempts[claimed["id"]] = attempt
        outcome: Outcome | None = None
        try:
            outcome = await self._execute(attempt)
        finally:
            del self._attempts[claimed["id"]]
            settled = outcome or handed_back(attempt)
            self._tally.note([settled], {settled.id: self._memory.settle(settled)})
        return 1

    async def _execute(self, attempt: Attempt) -> Outcome | None:
        """叫停的是处理函数，不是测试：为此取消当前任务的那一次在这里收回；测试自己被取消，则照样传出去。"""
        task = attempt.task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        timer = asyncio.get_running_loop().call_later(attempt.row["timeout_ms"] / 1000, attempt.halt, Stop.TIMEOUT)
        tokens = attempt_in_log.set(None), _inside.set(self)
        try:
            outcome = await self._execution.execute(attempt)
        finally:
            timer.cancel()
            attempt_in_log.reset(tokens[0])
            _inside.reset(tokens[1])
            attempt.task = None
        if task is not None and task.cancelling() > before:
            await _calm(task, ours=attempt.halted is not None, before=before)
        return outcome


def _runs_at(row: Row) -> datetime:
    return _NEVER if row["state"] is State.BLOCKED else row["run_at"]


async def _calm(task: asyncio.Task[Any], *, ours: bool, before: int) -> None:
    if ours:
        task.uncancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # 处理函数没有再等待过：那次取消还没有送到，Python 3.13 之前收不回来
    if task.cancelling() > before:
        raise asyncio.CancelledError
