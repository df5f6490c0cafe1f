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
Alone = Callable[[NewTask], Awaitable[Inserted]]
After = Callable[[Sequence[NewTask], dict[UUID, Inserted]], None]
Waiting = tuple[NewTask, asyncio.Future[Inserted]]


class GroupCommit:
    """Takes tasks one by one and hands them to `insert` by the group.

    `insert` stores all of a group or none; what it raises goes to those who wait. `after` hears of each group that was
    stored, once its submitters have their answer. With `alone`, a group of which some task's key is held elsewhere is taken
    apart, and each task waits for itself. `under_way` and `apart`: what an orderly end waits for.
    """

    def __init__(self, insert: Insert, after: After, alone: Alone | None = None) -> None:
        self._insert = insert
        self._after = after
        self._alone = alone
        self._waiting: deque[Waiting] = deque()
        self.under_way: set[asyncio.Task[None]] = set()
        self.apart: set[asyncio.Task[None]] = set()

    async def put(self, task: NewTask) -> Inserted:
        """Return what became of the task after its commit; LimitError SUBMIT_BUSY, and the errors of `insert`."""
        if len(self._waiting) >= c.GROUP_COMMIT_QUEUE_MAX:
            raise LimitError(Code.SUBMIT_BUSY, limit=c.GROUP_COMMIT_QUEUE_MAX)
        future: asyncio.Future[Inserted] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, future))
        if len(self.under_way) < c.GROUP_COMMIT_FLUSHERS:
            self.under_way.add(asyncio.create_task(self._flush()))
        return await future

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.apart.add(task)
        task.add_done_callback(self.apart.discard)

    async def _wait(self, task: NewTask, future: asyncio.Future[Inserted], alone: Alone) -> None:
        try:
            inserted = await alone(task)
        except Exception as error:  # noqa: BLE001 - 同上
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(inserted)
        self._after([task], {task.id: inserted})

    async def _flush(self) -> None:
        try:
            while self._waiting:
                await self._accept(
                    [self._waiting.popleft() for _ in range(min(len(self._waiting), c.GROUP_COMMIT_MAX_TASKS))]
                )
        finally:
            # 看到没有人在等与除名之间不能让出：刚醒来的提交者见名额已满就不会再叫人，然后一直等下去
            self.under_way -= {asyncio.current_task()}

    async def _accept(self, batch: Sequence[Waiting]) -> None:
        tasks = [task for task, _ in batch]
        try:
            inserted = await self._insert(tasks)
        except Exception as error:  # noqa: BLE001 - 原样交给每个等待者
            if self._alone is not None and isinstance(error, KeyHeldError):
                for task, future in batch:
                    self._start(self._wait(task, future, self._alone))
                return
            if len(batch) > 1 and isinstance(error, (*DATA_ERRORS, LimitError, InputError)):
                # 错在某一行，整组已回滚：逐个再存，只让那一个得到错误
                log.warning("组提交中有存不进去的任务，改为逐个提交", count=len(batch), error=why(error))
                for one in batch:
                    await self._accept([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for task, future in batch:
            if not future.done():
                future.set_result(inserted[task.id])
        self._after(tasks, inserted)
