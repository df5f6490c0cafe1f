"""Failures on their way into their groups: counted in the process, written beside the settles, never in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from taskmill.log import get_logger
from taskmill.services import constants as c
from taskmill.services.faults import translate
from taskmill.stores.database import Database
from taskmill.stores.tasks import failures
from taskmill.stores.tasks.failures import Counted, Failed
from taskmill.stores.why import why

log = get_logger(
    __name__,
    {
        "没能计入失败的分组，不再等": "failures not counted into their groups, given up",
        "没能计入失败的分组，稍后重试": "failures not counted into their groups, trying again later",
    },
)


class FailureCounts:
    """Takes what failed, after the commit that says so, and counts it into the groups once every FAILURE_FLUSH_S.

    A group that somebody holds locked, or a server that is away, keeps nobody else from anything: what could not be
    written is tried again with what came meanwhile. A process that is killed loses the counts of its last second, never
    an attempt: attempts are written by the settle.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, Counted] = {}
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Return how many groups have counts that are not yet written."""
        return len(self._waiting)

    def note(self, failed: Iterable[Failed]) -> None:
        """Count these, in the background."""
        for each in failed:
            self._add(Counted.of(each))
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name="failure-counts")

    async def flush(self) -> int:
        """Write what waits; returns how many groups. Raises what the database raises, and then it still waits."""
        taken, self._waiting = self._waiting, {}
        try:
            await self._database.unit(partial(failures.count, counted=list(taken.values())))
        except BaseException:
            newer, self._waiting = self._waiting, taken
            for each in newer.values():
                self._add(each)
            raise
        return len(taken)

    async def close(self) -> None:
        """Write what waits at once, within FAILURE_CLOSE_S; what cannot be written is told and forgotten."""
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=c.FAILURE_CLOSE_S)
            self._task.cancel()
        if self._waiting:
            log.warning("没能计入失败的分组，不再等", groups=self.waiting)

    def _add(self, counted: Counted) -> None:
        """种类太多时归进它那个类型的「其余」：锁着的时候攒下的不能没有限度。"""
        if counted.failed.fingerprint not in self._waiting and len(self._waiting) >= c.FAILURE_WAITING_MAX:
            counted = counted.as_other()
        known = self._waiting.get(counted.failed.fingerprint)
        self._waiting[counted.failed.fingerprint] = counted if known is None else known.and_then(counted)

    async def _run(self) -> None:
        tries = 0
        while self._waiting:
            with suppress(TimeoutError):  # 平常就是这样：隔一会儿写一次
                await asyncio.wait_for(self._hurry.wait(), min(c.FAILURE_FLUSH_MAX_S, c.FAILURE_FLUSH_S * 2**tries))
            try:
                await self.flush()
                tries = 0
            except Exception as error:
                # 锁着、不在、表被人改过：都不值得让谁等，攒着再试
                tries += 1
                log.warning(
                    "没能计入失败的分组，稍后重试", groups=self.waiting, error=why(error), exc_info=translate(error) is None
                )
                if self._hurry.is_set():
                    return
