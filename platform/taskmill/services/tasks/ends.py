"""Waiting for the ends of tasks: whoever waits in this process does so by one statement at a time, for all of them.

Nothing is published when a task ends, so that a task for which nobody waits costs nothing. A wait is looked at after 10 ms, and then
each time it has lasted a quarter longer: what ends soon is known soon, what takes long costs four statements a second at most.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from taskmill import reasons
from taskmill.clock import Clock
from taskmill.errors import Code, InputError, NotFoundError
from taskmill.log import get_logger
from taskmill.services import constants as c
from taskmill.stores.database import AWAY, Database
from taskmill.stores.tasks import ends as store
from taskmill.stores.tasks.ends import End
from taskmill.stores.why import why

log = get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Wait:
    """一个人在等一个任务。"""

    task_id: UUID
    uncommitted: bool
    since: float
    due: float
    done: asyncio.Future[End]


class Ends:
    """The waits of one process. `looks` counts statements."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waits: set[_Wait] = set()
        self._come = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.looks = 0

    async def wait(self, task_id: UUID, *, uncommitted: bool = False) -> End:
        """Return the end of a task once it has come; waits as long as PostgreSQL is away, too.

        NotFoundError TASK_NOT_FOUND if there is no such task, or none any more; `uncommitted`: it may come yet.
        """
        now = self._clock.monotonic()
        wait = _Wait(task_id, uncommitted, now, now + c.ENDS_FIRST_S, asyncio.get_running_loop().create_future())
        self._waits.add(wait)
        self._come.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="ends")
        try:
            return await wait.done
        finally:
            self._waits.discard(wait)

    async def close(self) -> None:
        """End all waits with InputError USAGE."""
        for wait in self._waits:
            _raise(wait, InputError(Code.USAGE, reason=reasons.NOT_OPEN))
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while self._waits:
            self._come.clear()
            now = self._clock.monotonic()
            due = [wait for wait in self._waits if wait.due <= now]
            if due:
                pause = await self._look(due)
                await asyncio.sleep(pause)
            else:
                await self._until(min(wait.due for wait in self._waits) - now)

    async def _until(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._come.wait()

    async def _look(self, due: list[_Wait]) -> float:
        """看一次到点的，返回歇多久。"""
        began = self._clock.monotonic()
        try:
            await self._settle(due)
        except AWAY as error:
            log.warning("PostgreSQL 不在，结果接着等", waiting=len(self._waits), error=why(error))
            return c.ENDS_AWAY_S
        except Exception as error:  # noqa: BLE001 - 原样交给每个等的人
            for wait in due:
                _raise(wait, error)
        now = self._clock.monotonic()
        for wait in due:
            wait.due = now + min(max(c.ENDS_FIRST_S, (now - wait.since) * c.ENDS_SHARE), c.ENDS_MAX_S)
        return max(c.ENDS_FIRST_S, (now - began) * c.ENDS_REST)

    async def _settle(self, due: list[_Wait]) -> None:
        ids = sorted({wait.task_id for wait in due})
        for start in range(0, len(ids), c.ENDS_CHUNK):
            self.looks += 1
            ended = await store.ended(self._database.pool, ids[start : start + c.ENDS_CHUNK])
            for wait in due:
                if (end := ended.get(wait.task_id)) is not None:
                    _end(wait, end)


def _end(wait: _Wait, end: End) -> None:
    if end.state is None:
        if not wait.uncommitted:
            _raise(wait, NotFoundError(Code.TASK_NOT_FOUND, id=str(wait.task_id)))
    elif not wait.done.done():
        wait.done.set_result(end)


def _raise(wait: _Wait, error: Exception) -> None:
    if not wait.done.done():
        wait.done.set_exception(error)
