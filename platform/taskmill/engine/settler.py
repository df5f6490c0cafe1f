"""Settler: outcomes in batches, one transaction each; waits in memory while PostgreSQL is away."""

from __future__ import annotations

import asyncio
from collections import deque
from uuid import UUID

from taskmill import constants as c
from taskmill.engine.attempt import describe
from taskmill.errors import Code, TaskmillError
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.states import Cause, State
from taskmill.stores.database import AWAY, DATA_ERRORS, MISSING_PARTITION, Database
from taskmill.stores.task_settle import Outcome, settle
from taskmill.stores.why import why

log = get_logger(__name__)


UNSTORABLE = "ResultNotEncodable"  # task_attempts.error_type


class Settler:
    """Two coroutines, so that one's fsync overlaps the other's work. `backlog` counts outcomes not yet committed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Outcome] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.unsettled: set[tuple[UUID, int]] = set()
        self.settled = 0
        self.fenced = 0
        self.statements = 0

    @property
    def backlog(self) -> int:
        """Return how many outcomes wait for their commit."""
        return len(self.unsettled)

    def start(self) -> None:
        """Begin to settle."""
        self._tasks = [asyncio.create_task(self._run(new_id()), name="settler") for _ in range(c.SETTLERS)]

    def put(self, outcome: Outcome) -> None:
        """Take an outcome; it is written within milliseconds while PostgreSQL answers."""
        self._waiting.append(outcome)
        self.unsettled.add((outcome.id, outcome.claim_no))
        self._wake.set()

    async def stop(self, grace_s: float) -> int:
        """Write what waits, for at most `grace_s` seconds; returns how many could not be written."""
        self._stopping = True
        self._wake.set()
        _, late = await asyncio.wait(self._tasks, timeout=grace_s) if self._tasks else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return self.backlog

    async def _run(self, writer: UUID) -> None:
        while True:
            await self._wake.wait()
            if not self._stopping:
                await asyncio.sleep(c.SETTLE_DELAY_S)
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), c.SETTLE_MAX))]
            if not self._waiting and not self._stopping:
                self._wake.clear()
            if batch:
                await self._settle(batch, writer)
            elif self._stopping:
                return

    async def _settle(self, batch: list[Outcome], writer: UUID) -> None:
        delay = 0.05
        while True:
            try:
                done = await self._database.unit(lambda connection: settle(connection, batch, writer))
            except DATA_ERRORS as error:
                await self._bisect(batch, writer, error)
                return
            except (*AWAY, MISSING_PARTITION) as error:
                # 提交结果未知也照样重来：每次尝试的栅栏只匹配一次
                log.warning("结算未写入，稍后重试", count=len(batch), error=why(error))
            except Exception:
                # 死锁重试用尽、磁盘满……结算协程绝不能死：结果留在内存里，再试
                log.exception("结算出错，稍后重试", count=len(batch))
            else:
                self.statements += 1
                self._finish(batch, done)
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, c.RECONNECT_MAX_S)

    def _finish(self, batch: list[Outcome], done: set[UUID]) -> None:
        self.unsettled.difference_update((o.id, o.claim_no) for o in batch)
        self.settled += len(done)
        if len(done) < len(batch):
            self.fenced += len(batch) - len(done)
            log.warning("结果作废：租约已失或任务已改", count=len(batch) - len(done))

    async def _bisect(self, batch: list[Outcome], writer: UUID, error: Exception) -> None:
        """数据错误只可能来自某一行：二分找到它，让它成为失败的尝试，别的照常结算。"""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._settle(batch[:middle], writer)
            await self._settle(batch[middle:], writer)
            return
        bad = batch[0]
        if bad.error_type == UNSTORABLE:
            raise error  # 替代的错误也存不进去：不是数据的问题
        log.error("结果无法保存，改记为失败", task_id=str(bad.id), error=why(error))
        bad.state, bad.cause, bad.result = State.DISCARDED, Cause.ERROR, None
        describe(bad, TaskmillError(Code.RESULT_NOT_ENCODABLE, reason=type(error).__name__))
        bad.error_type = UNSTORABLE
        await self._settle([bad], writer)
