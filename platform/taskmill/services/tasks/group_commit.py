"""Group commit: concurrent submits of one process share a transaction, and a bad one fails alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

from taskmill.errors import Code, InputError, LimitError
from taskmill.log import get_logger
from taskmill.services import constants as c
from taskmill.stores.database import DATA_ERRORS
from taskmill.stores.tasks.submit import Inserted, NewTask
from taskmill.stores.tasks.unique import KeyHeldError
from taskmill.stores.why import why

log = get_logger(__name__)
Insert = Callable[[Sequence[NewTask]], Awaitable[dict[UUID, Inserted]]]
After = Callable[[Sequence[NewTask], dict[UUID, Inserted]], None]
Waiting = tuple[NewTask, asyncio.Future[Inserted]]


class GroupCommit:
    """Takes tasks one by one and hands them to `insert` by the group.

    `insert` stores all of a group or none; what it raises goes to those who wait. `after` hears of each group that was
    stored, once its submitters have their answer. With `alone`, a group of which some task's key is held elsewhere is taken
    apart, and each task waits for itself; those of one sequence stand in one line, and are handed to `alone` together.
    `under_way` and `apart`: what an orderly end waits for.
    """

    def __init__(self, insert: Insert, after: After, alone: Insert | None = None) -> None:
        self._insert = insert
        self._after = after
        self._alone = alone
        self._waiting: deque[Waiting] = deque()
        self._lines: dict[str, deque[Waiting]] = {}
        self.under_way: set[asyncio.Task[None]] = set()
        self.apart: set[asyncio.Task[None]] = set()

    async def put(self, task: NewTask) -> Inserted:
        """Return what became of the task after its commit; LimitError SUBMIT_BUSY, and the errors of `insert`."""
        if len(self._waiting) + sum(map(len, self._lines.values())) >= c.GROUP_COMMIT_QUEUE_MAX:
            raise LimitError(Code.SUBMIT_BUSY, limit=c.GROUP_COMMIT_QUEUE_MAX)
        future: asyncio.Future[Inserted] = asyncio.get_running_loop().create_future()
        if task.order is not None and (line := self._lines.get(task.order.sequence_key or "")) is not None:
            line.append((task, future))
            return await future
        self._waiting.append((task, future))
        if len(self.under_way) < c.GROUP_COMMIT_FLUSHERS:
            self.under_way.add(asyncio.create_task(self._flush()))
        return await future

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.apart.add(task)
        task.add_done_callback(self.apart.discard)

    def _take_apart(self, batch: Sequence[Waiting], alone: Insert, *, in_lines: bool) -> None:
        for one in batch:
            order = one[0].order
            if order is None or order.sequence_key is None or not in_lines:
                self._start(self._accept([one], alone))
            elif (line := self._lines.get(order.sequence_key)) is not None:
                line.append(one)
            else:
                self._lines[order.sequence_key] = deque([one])
                self._start(self._stand(order.sequence_key, alone))

    async def _stand(self, key: str, alone: Insert) -> None:
        """一条队：同一个序列的一起等，后来的排在后面。看到队空了与除名之间不能让出。"""
        line = self._lines[key]
        try:
            while line:
                await self._accept([line.popleft() for _ in range(min(len(line), c.GROUP_COMMIT_MAX_TASKS))], alone)
        finally:
            del self._lines[key]

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), c.GROUP_COMMIT_MAX_TASKS))]
                await self._accept(batch, self._insert)
        finally:
            # 看到没有人在等与除名之间不能让出：刚醒来的提交者见名额已满就不会再叫人，然后一直等下去
            self.under_way -= {asyncio.current_task()}

    async def _accept(self, batch: Sequence[Waiting], insert: Insert) -> None:
        tasks = [task for task, _ in batch]
        try:
            inserted = await insert(tasks)
        except Exception as error:  # noqa: BLE001 - 原样交给每个等待者
            if self._alone is not None and isinstance(error, KeyHeldError):
                self._take_apart(batch, self._alone, in_lines=insert is not self._alone)
                return
            if len(batch) > 1 and isinstance(error, (*DATA_ERRORS, LimitError, InputError)):
                # 错在某一行，整组已回滚：逐个再存，只让那一个得到错误
                log.warning("组提交中有存不进去的任务，改为逐个提交", count=len(batch), error=why(error))
                for one in batch:
                    await self._accept([one], insert)
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for task, future in batch:
            if not future.done():
                future.set_result(inserted[task.id])
        self._after(tasks, inserted)
