"""Reading, cancelling and retrying tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from taskmill import constants as c
from taskmill import reasons
from taskmill.clock import rfc3339
from taskmill.errors import Code, ConflictError, InputError, NotFoundError
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.services import constants as svc
from taskmill.services.page import Page, Paging
from taskmill.services.queues.limits import Promoter
from taskmill.services.tasks import view as task_view
from taskmill.services.tasks.explain import fate, waiting
from taskmill.services.tasks.explain.fate import TaskExplain
from taskmill.services.tasks.releasing import Releaser
from taskmill.services.tasks.view import TaskAttemptView, TaskDetail, TaskResult, TaskState, TaskSummary
from taskmill.states import LIVE, State
from taskmill.stores.broker.tickets import BROKER_AWAY, Tickets
from taskmill.stores.database import Database
from taskmill.stores.tasks import control as task_control
from taskmill.stores.tasks import read as task_read
from taskmill.stores.tasks.lists import page as lists
from taskmill.stores.tasks.lists.statement import TaskQuery
from taskmill.stores.tasks.order.release import LetGo

log = get_logger(__name__)
T = TypeVar("T")
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=c.NAME_MAX_CHARS, pattern="^[^\\x00]*$")]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]
STATES = frozenset(state.value for state in State)
MOVES = 3  # 任务可能正好在两张表之间移动，重看几次


class TaskFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of tasks. `cursor` is a `next_cursor`; it takes the place of `page`.

    Left out is UNSET, not None: from a query string msgspec would read the word `null` as None.
    """

    queue: Annotated[Name, msgspec.Meta(description="Name of the queue.")] | UnsetType = UNSET
    state: Annotated[str, msgspec.Meta(description="One or more states, separated by commas.")] | UnsetType = UNSET
    kind: Annotated[Name, msgspec.Meta(description="Kind of the task.")] | UnsetType = UNSET
    tag: Annotated[Name, msgspec.Meta(description="A tag that the task has.")] | UnsetType = UNSET
    schedule_id: Annotated[UUID, msgspec.Meta(description="The schedule that made it.")] | UnsetType = UNSET
    created_after: Annotated[Aware, msgspec.Meta(description="Made at or after this time, with a zone.")] | UnsetType = UNSET
    created_before: Annotated[Aware, msgspec.Meta(description="Made before this time, with a zone.")] | UnsetType = UNSET
    started_after: Annotated[Aware, msgspec.Meta(description="Newest attempt began at or after this time.")] | UnsetType = (
        UNSET
    )
    started_before: Annotated[Aware, msgspec.Meta(description="Newest attempt began before this time.")] | UnsetType = UNSET
    finished_after: Annotated[Aware, msgspec.Meta(description="Final since this time or later.")] | UnsetType = UNSET
    finished_before: Annotated[Aware, msgspec.Meta(description="Final before this time.")] | UnsetType = UNSET
    cursor: Annotated[UUID, msgspec.Meta(description="`next_cursor` of the page before.")] | UnsetType = UNSET

    def states(self) -> frozenset[State]:
        """Return the wanted states, empty for all; InputError names a word that is none."""
        if self.state is UNSET:
            return frozenset()
        words = [word.strip() for word in self.state.split(",")]
        for word in words:
            if word not in STATES:
                reason = reasons.NONE_OF(value=repr(word), names=", ".join(State))
                raise InputError(Code.INVALID_REQUEST, field="state", reason=reason)
        return frozenset(State(word) for word in words)

    def query(self) -> TaskQuery:
        """Return the conditions for the store."""
        return TaskQuery(
            queue=given(self.queue),
            states=self.states(),
            kind=given(self.kind),
            tag=given(self.tag),
            schedule_id=given(self.schedule_id),
            created_after=given(self.created_after),
            created_before=given(self.created_before),
            started_after=given(self.started_after),
            started_before=given(self.started_before),
            finished_after=given(self.finished_after),
            finished_before=given(self.finished_before),
            before=given(self.cursor),
        )


def given(value: T | UnsetType) -> T | None:
    """Return a query parameter, None if it was left out."""
    return None if value is UNSET else value


class TaskService:
    """What people do with tasks that exist. `tickets` None: running tasks hear of a cancel by heartbeat only."""

    def __init__(
        self,
        database: Database,
        tickets: Tickets | None = None,
        promoter: Promoter | None = None,
        releaser: Releaser | None = None,
    ) -> None:
        self._database = database
        self._releaser = releaser
        self._promoter = promoter
        self._tickets = tickets
        self._writer = new_id()  # 计数行按写入者分开，互不争锁

    async def list(self, wanted: TaskFilter) -> Page[TaskSummary]:
        """Return one page, newest first. With a cursor nothing is counted."""
        query = wanted.query()
        if wanted.cursor is not UNSET and wanted.page != 1:
            raise InputError(Code.INVALID_REQUEST, field="page", reason=reasons.NOT_WITH_CURSOR)
        more = wanted.page_size + 1  # 多取一行，看还有没有下一页
        total: int | None = None
        offset = wanted.offset
        async with lists.reading(self._database) as connection:
            if wanted.cursor is UNSET:
                rows, total = await lists.fetch_page(connection, query, limit=more, offset=offset)
            else:
                rows = await lists.fetch_after(connection, query, limit=more)
        return _page(rows, wanted, total)

    async def get(self, task_id: UUID) -> TaskDetail:
        """Return one task and, while it waits, why; NotFoundError TASK_NOT_FOUND."""
        row = await self._row(task_id)
        return task_view.detail(row, await waiting.reasons(self._database.pool, row, self._tickets))

    async def explain(self, task_id: UUID) -> TaskExplain:
        """Return why a task is not running, or what became of it; NotFoundError TASK_NOT_FOUND."""
        return (await self.explained(task_id))[1]

    async def explained(self, task_id: UUID) -> tuple[TaskDetail, TaskExplain]:
        """Return one task with its explanation, both of one look; NotFoundError TASK_NOT_FOUND."""
        row, pool = await self._row(task_id), self._database.pool
        told = TaskExplain(
            id=row["id"],
            kind=row["kind"],
            queue=row["queue"],
            state=State(row["state"]),
            asked_at=rfc3339(row["asked_at"]),
            waiting=await waiting.reasons(pool, row, self._tickets),
            fate=await fate.fate(pool, row),
        )
        return task_view.detail(row, told.waiting), told

    async def _row(self, task_id: UUID) -> Any:
        """不占着连接：之后要问 Valkey，它也许半秒不答。"""
        row = await task_read.fetch(self._database.pool, task_id)
        if row is None:
            raise NotFoundError(Code.TASK_NOT_FOUND, id=str(task_id))
        return row

    async def some(self, task_ids: Collection[UUID]) -> list[TaskSummary]:
        """Return those of these tasks that exist, the newest first."""
        query = TaskQuery(ids=frozenset(task_ids))
        async with lists.reading(self._database) as connection:
            rows = await lists.fetch_after(connection, query, limit=len(task_ids))
        return [task_view.summary(row) for row in rows]

    async def attempts(self, task_id: UUID, newest: int | None = None) -> list[TaskAttemptView]:
        """Return the attempts that did not complete, all or the `newest` so many, the oldest first; NotFoundError TASK_NOT_FOUND."""
        async with self._database.pool.acquire(timeout=c.CONNECT_TIMEOUT_S) as connection:
            rows = await task_read.fetch_attempts(connection, task_id, newest)
        if rows is None:
            raise NotFoundError(Code.TASK_NOT_FOUND, id=str(task_id))
        return [task_view.attempt(row) for row in rows]

    async def result(self, task_id: UUID) -> TaskResult:
        """Return what a final task left; ConflictError RESULT_NOT_READY while it is live."""
        async with self._database.pool.acquire(timeout=c.CONNECT_TIMEOUT_S) as connection:
            row = await task_read.fetch_result(connection, task_id)
        if row is None:
            raise NotFoundError(Code.TASK_NOT_FOUND, id=str(task_id))
        if row["state"] in LIVE:
            raise ConflictError(Code.RESULT_NOT_READY, id=str(task_id), state=row["state"])
        return task_view.result(row)

    async def cancel(self, task_id: UUID) -> TaskState:
        """End a waiting task at once, ask a running one to end; ConflictError TASK_NOT_CANCELLABLE if it is final."""
        for _ in range(MOVES):
            work = partial(task_control.cancel, task_id=task_id, writer=self._writer)
            done = await self._database.unit(work)
            if done is not None:
                await self._hint(done.worker_id)
                if done.place is not None and self._promoter is not None:
                    self._promoter.soon([done.place])
                self._released(done.let_go)
                log.info("任务已取消", task_id=str(task_id), state=done.state)
                return TaskState(id=task_id, state=done.state, cancel_requested=done.state is State.RUNNING)
            state = await self._state(task_id)
            if state not in LIVE:
                if await self._skip(task_id):  # 序列停在它上面：不要它了，与跳过一样
                    return TaskState(id=task_id, state=state)
                raise ConflictError(Code.TASK_NOT_CANCELLABLE, id=str(task_id), state=state)
        raise ConflictError(Code.TASK_NOT_CANCELLABLE, id=str(task_id), state=reasons.MOVING)

    async def retry(self, task_id: UUID) -> TaskState:
        """Bring a final task back with fresh budgets.

        ConflictError TASK_NOT_RETRYABLE if it is live, UNIQUE_TAKEN if another live task has its unique key.
        """
        for _ in range(MOVES):
            work = partial(task_control.reopen, task_id=task_id, writer=self._writer)
            try:
                reopened = await self._database.unit(work)
            except task_control.KeyTakenError as error:
                raise ConflictError(Code.UNIQUE_TAKEN, key=error.key, id=str(error.task_id or "?")) from error
            if reopened is not None:
                self._released(reopened.let_go)
                log.info("任务已重新打开", task_id=str(task_id))
                return TaskState(id=task_id, state=reopened.state)
            state = await self._state(task_id)
            if state in LIVE:
                raise ConflictError(Code.TASK_NOT_RETRYABLE, id=str(task_id), state=state)
        raise ConflictError(Code.TASK_NOT_RETRYABLE, id=str(task_id), state=reasons.MOVING)

    async def skip(self, task_id: UUID) -> TaskState:
        """Let the sequence go on that a failed task stops; the task stays as it is.

        NotFoundError TASK_NOT_FOUND, ConflictError TASK_NOT_SKIPPABLE if it stops none.
        """
        if await self._skip(task_id):
            log.info("已跳过失败的任务，序列继续", task_id=str(task_id))
            return TaskState(id=task_id, state=State.DISCARDED)
        raise ConflictError(Code.TASK_NOT_SKIPPABLE, id=str(task_id), state=await self._state(task_id))

    async def _skip(self, task_id: UUID) -> bool:
        let_go = await self._database.unit(partial(task_control.skip, task_id=task_id))
        if let_go is not None:
            self._released(let_go)
        return let_go is not None

    def _released(self, let_go: LetGo) -> None:
        if self._releaser is not None:
            self._releaser.released(let_go)

    async def _state(self, task_id: UUID) -> State:
        async with self._database.pool.acquire(timeout=c.CONNECT_TIMEOUT_S) as connection:
            state = await task_control.state_of(connection, task_id)
        if state is None:
            raise NotFoundError(Code.TASK_NOT_FOUND, id=str(task_id))
        return state

    async def _hint(self, worker_id: UUID | None) -> None:
        if worker_id is None or self._tickets is None:
            return
        try:
            async with asyncio.timeout(svc.TICKET_HANG_S):
                await self._tickets.hint(worker_id)
        except BROKER_AWAY as error:
            log.warning("取消提示未送达，工作进程下次心跳会看到", worker_id=str(worker_id), error=str(error))


def _page(rows: Sequence[Any], wanted: TaskFilter, total: int | None) -> Page[TaskSummary]:
    shown = rows[: wanted.page_size]
    return Page(
        items=[task_view.summary(row) for row in shown],
        page=None if total is None else wanted.page,
        page_size=wanted.page_size,
        total=None if total is None else min(total, c.TOTAL_EXACT_MAX),
        total_capped=total is not None and total > c.TOTAL_EXACT_MAX,
        next_cursor=str(shown[-1]["id"]) if len(rows) > wanted.page_size else None,
    )
