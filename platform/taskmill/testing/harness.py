"""The door in memory: the calls of `taskmill.Taskmill`, without servers, for tests of applications and of plugins."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill import naming, reasons
from taskmill.clock import SYSTEM_CLOCK, FakeClock
from taskmill.controls.options import SubmitOptions
from taskmill.controls.request import TaskRequest
from taskmill.door.chunks import chunks
from taskmill.door.interface import Door, Order
from taskmill.errors import Code, ConflictError, NotFoundError, TaskmillError, UnfitError, placed
from taskmill.plugin.definition import TaskDefinition
from taskmill.services.constants import DOOR_CHUNK
from taskmill.services.kinds import KindPolicy, KindTable, policy_of
from taskmill.services.tasks import view
from taskmill.services.tasks.order import order_of
from taskmill.services.tasks.preparing import PayloadLimits, new_task
from taskmill.services.tasks.submit_request import SubmitRequest, refuse, request_of
from taskmill.services.tasks.unique import taken
from taskmill.services.tasks.view import TaskAttemptView, TaskDetail, TaskState
from taskmill.states import FINAL, LIVE, State
from taskmill.stores.tasks.control import KeyTakenError
from taskmill.stores.tasks.submit import Inserted, NewTask
from taskmill.testing import constants as tc
from taskmill.testing import reasons as tr
from taskmill.testing.asserting import Asserting
from taskmill.testing.kinds import registry_of
from taskmill.testing.memory import Memory, Row, decoded
from taskmill.testing.order import MemoryOrder
from taskmill.testing.running import Running

R = TypeVar("R")
Mode = Literal["inline", "drain"]


class Harness(Asserting, Door):
    """Runs the tasks of an application or a plugin in the test's own loop, by the product's own rules.

    `tasks` are the kinds, `plugins` names of installed plugins, or modules; they are configured by `env`. `mode` `inline`: a submit runs
    its task, and what that submits, before it returns; `drain`: tasks wait for `drain`. Time is a `FakeClock`, which starts
    now and which only `advance` moves. `ignore_connections`: `connection=` is allowed, and the task counts as committed at once.
    Sequences and dependencies are as in production. Limits of queues, priorities of workers, crashes and cron are not simulated; `docs/guides/testing.md` has the list.
    """

    def __init__(
        self,
        *tasks: TaskDefinition[..., Any],
        mode: Mode = "drain",
        plugins: Sequence[object] = (),
        env: Mapping[str, str] | None = None,
        clock: FakeClock | None = None,
        allow_unknown_kinds: bool = False,
        ignore_connections: bool = False,
        drain_max: int = tc.DRAIN_MAX,
        result_max_bytes: int = c.RESULT_MAX_BYTES,
    ) -> None:
        self.clock = clock or FakeClock(SYSTEM_CLOCK.now())
        self.mode = mode
        registry = registry_of(tasks, plugins, env or {})
        self._kinds = KindTable(policy_of(definition) for definition in registry.tasks.values())
        self._memory = Memory(self.clock)
        self._running = Running(self._memory, registry, self.clock, self._submit_kind, result_max_bytes, drain_max)
        self._allow_unknown, self._ignore_connections = allow_unknown_kinds, ignore_connections

    async def open(self) -> Self:
        """Return the harness, which needs nothing opened."""
        return self

    async def close(self) -> None:
        """Let go of the threads of plain handlers."""
        await self._running.close()

    async def __aenter__(self) -> Self:
        """Return the harness."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    @overload
    async def submit(
        self, request: TaskRequest[R], /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[R]: ...
    @overload
    async def submit(
        self, request: str, args: Any = None, /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[Any]: ...
    async def submit(
        self,
        request: TaskRequest[Any] | str,
        args: Any = None,
        /,
        *,
        connection: object | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Order[Any]:
        """Submit one task, as at the door; `inline` it has run when this returns. Errors: those of the door."""
        self._check(connection)
        order = self._order(self._store([request_of(request, args, options)])[0], request)
        await self._after()
        return order

    async def submit_many(
        self,
        requests: Iterable[TaskRequest[R]] | AsyncIterable[TaskRequest[R]],
        *,
        connection: object | None = None,
        progress: bool | None = None,  # noqa: ARG002 - 门的签名；在内存里没有什么可等
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[Order[R]]:
        """Submit tasks by the chunk, as at the door, and give the order of each. Errors: those of the door."""
        self._check(connection)
        count = 0
        async with aclosing(chunks(requests, DOOR_CHUNK)) as parts:
            async for part in parts:
                with placed(count):
                    done = self._store((request_of(each, None, options) for each in part), batch=True)
                count += len(part)
                await self._after()
                for each, request in zip(done, part, strict=True):
                    yield self._order(each, request)

    def order(self, task_id: UUID | str, kind: str = "") -> Order[Any]:
        """Return the order of a task that was submitted here."""
        return MemoryOrder(self._memory, UUID(str(task_id)), kind, msgspec.json.decode)

    async def drain(self, *, future: bool = False) -> int:
        """Run what is due, and what that submits, until nothing is; returns how many attempts ran.

        With `future` the clock is moved to each next time that a task waits for, so that at the end all are final but those
        behind a failure that stops their sequence, and what depends on them. UnfitError after `drain_max` attempts.
        """
        return await self._running.drain(future=future)

    def advance(self, seconds: float) -> None:
        """Move the clock forward; `drain` then runs what has become due."""
        self.clock.advance(seconds)

    @property
    def next_due(self) -> datetime | None:
        """Return when the next waiting task may run or expires, None if none does; a blocked one may only expire."""
        return self._running.next_due()

    @property
    def submitted(self) -> list[TaskDetail]:
        """Return all tasks that were stored, in the order of their submits, as they are now."""
        return [_detail(row) for row in self._memory.rows.values()]

    def task(self, task_id: UUID) -> TaskDetail:
        """Return one task as it is now; NotFoundError TASK_NOT_FOUND."""
        return _detail(self._row(task_id))

    def result(self, task_id: UUID) -> Any:
        """Return what the handler of a completed task returned, as JSON has it; ConflictError RESULT_NOT_READY before."""
        row = self._row(task_id)
        if row["state"] not in FINAL:
            raise ConflictError(Code.RESULT_NOT_READY, id=str(task_id), state=row["state"])
        return decoded(row["result"])

    def attempts(self, task_id: UUID) -> list[TaskAttemptView]:
        """Return the attempts of a task that did not complete, the oldest first."""
        self._row(task_id)
        return [view.attempt(row) for row in self._memory.attempts if row["task_id"] == task_id]

    def cancel(self, task_id: UUID) -> TaskState:
        """End a waiting task, ask a running one to end, skip one that stops its sequence; else ConflictError TASK_NOT_CANCELLABLE."""
        row = self._row(task_id)
        if row["state"] not in LIVE:
            if self._memory.skip(row):
                return TaskState(id=task_id, state=row["state"])
            raise ConflictError(Code.TASK_NOT_CANCELLABLE, id=str(task_id), state=row["state"])
        state = self._memory.cancel(row)
        self._running.cancel(task_id)
        return TaskState(id=task_id, state=state, cancel_requested=state is State.RUNNING)

    def retry(self, task_id: UUID) -> TaskState:
        """Bring a final task back; ConflictError TASK_NOT_RETRYABLE if it is live, UNIQUE_TAKEN if its key is taken."""
        row = self._row(task_id)
        if row["state"] in LIVE:
            raise ConflictError(Code.TASK_NOT_RETRYABLE, id=str(task_id), state=row["state"])
        try:
            self._memory.reopen(row)
        except KeyTakenError as error:
            raise ConflictError(Code.UNIQUE_TAKEN, key=error.key, id=str(error.task_id)) from error
        return TaskState(id=task_id, state=row["state"])

    def skip(self, task_id: UUID) -> TaskState:
        """Let the sequence go on that a failed task stops; ConflictError TASK_NOT_SKIPPABLE if it stops none."""
        row = self._row(task_id)
        if not self._memory.skip(row):
            raise ConflictError(Code.TASK_NOT_SKIPPABLE, id=str(task_id), state=row["state"])
        return TaskState(id=task_id, state=row["state"])

    async def _submit_kind(self, kind: TaskRequest[Any] | str, args: Any = None, **options: Any) -> UUID:
        """`ctx.submit`：任务在处理函数之后运行，和生产环境一样不嵌在里面。"""
        task, done = self._store([request_of(kind, args, options)])[0]
        return done.duplicate_of or task.id

    def _store(self, requests: Iterable[SubmitRequest], *, batch: bool = False) -> list[tuple[NewTask, Inserted]]:
        """检查与插入；一批里有一个不行，就一个也不留，并说是第几个。"""
        tasks: list[NewTask] = []
        kept = self._memory.snapshot() if batch else None
        try:
            for request in requests:
                task = new_task(request, self._policy(request), PayloadLimits())
                task.order = order_of(request, c.DEPENDS_ON_MAX)
                tasks.append(task)
            inserted = self._memory.submit(tasks)
            for index, task in enumerate(tasks):
                if (error := taken(task, inserted[task.id])) is not None:
                    error.details["index"] = index
                    raise error
        except TaskmillError as error:
            if kept is not None:
                self._memory.restore(kept)
                error.details.setdefault("index", len(tasks))
            else:
                error.details.pop("index", None)
            raise
        return [(task, inserted[task.id]) for task in tasks]

    def _policy(self, request: SubmitRequest) -> KindPolicy | None:
        if not naming.may_be_kind(request.kind):
            raise refuse("kind", reasons.KIND_NAME)
        policy = self._kinds.find(request.kind, request.version)
        if policy is None and not self._allow_unknown:
            raise self._kinds.absent(request.kind, request.version)
        return policy

    def _order(self, stored: tuple[NewTask, Inserted], asked: TaskRequest[R] | str) -> Order[Any]:
        task, done = stored
        read = asked.read if isinstance(asked, TaskRequest) else msgspec.json.decode
        duplicate = done.duplicate_of is not None
        return MemoryOrder(
            self._memory, done.duplicate_of or task.id, task.kind, read, duplicate=duplicate, replaced=done.replaced
        )

    async def _after(self) -> None:
        if self.mode == "inline" and not self._running.inside:
            await self._running.drain(future=False)

    def _check(self, connection: object | None) -> None:
        if connection is not None and not self._ignore_connections:
            raise UnfitError(tr.NO_CONNECTION)

    def _row(self, task_id: UUID) -> Row:
        if task_id not in self._memory.rows:
            raise NotFoundError(Code.TASK_NOT_FOUND, id=str(task_id))
        return self._memory.rows[task_id]


def _detail(row: Row) -> TaskDetail:
    return view.detail({**row, **{name: decoded(row[name]) for name in ("args", "meta", "error")}}, [])
