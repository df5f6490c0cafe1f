"""The one way into the system: check, fill in defaults, insert in groups, ticket after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Protocol
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill import naming, reasons
from taskmill.clock import Clock
from taskmill.controls.once import Once
from taskmill.controls.request import TaskRequest
from taskmill.errors import Code, InputError, SetupError, TaskmillError
from taskmill.log import get_logger
from taskmill.services import constants as svc
from taskmill.services.kinds import KindCache, KindPolicy
from taskmill.services.queues.limits import LimitCache, Promoter
from taskmill.services.tasks.group_commit import GroupCommit
from taskmill.services.tasks.idempotency import Idempotency, LateError
from taskmill.services.tasks.inserting import Inserter, away
from taskmill.services.tasks.key_wait import KeyWait
from taskmill.services.tasks.order import order_of
from taskmill.services.tasks.preparing import PayloadLimits, new_task
from taskmill.services.tasks.releasing import Releaser
from taskmill.services.tasks.submit_request import SubmitRequest, refuse, request_of
from taskmill.services.tasks.submitted import Submitted, submitted
from taskmill.services.tasks.ticketing import Ticketing
from taskmill.services.tasks.unique import taken
from taskmill.settings import Settings
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.database import AWAY, MISSING_SCHEMA, Database
from taskmill.stores.tasks.submit import Inserted, NewTask

log = get_logger(__name__)


class Requests(Protocol):
    """Tasks that are counted before they are looked at: a list, or a batch that is decoded as it is gone through."""

    def __len__(self) -> int:
        """Return how many."""
        ...

    def __iter__(self) -> Iterator[SubmitRequest]:
        """Return them, in order."""
        ...


class SubmitService:
    """Accepts tasks. Concurrent single submits of one process share a commit; `close` waits for them."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tickets: Tickets,
        clock: Clock,
        limits: LimitCache | None = None,
        promoter: Promoter | None = None,
        releaser: Releaser | None = None,
    ) -> None:
        self._limits = limits or LimitCache(database, clock)
        self._promoter = promoter or Promoter(database, tickets, window=settings.fairness_window)
        self._releaser = releaser or Releaser(database, self._promoter)
        self._settings = settings
        self._payload = PayloadLimits(settings.args_max_bytes, settings.args_max_depth)
        self._database = database
        self._clock = clock
        self.kinds = KindCache(database, clock)
        self._ticketing = Ticketing(database, tickets, clock)
        self._inserter = Inserter(settings, database, self._limits, clock)
        self.store, self.admit, self.know = self._inserter.store, self._inserter.admit, self._inserter.know
        self._answers = Idempotency(database)
        self._group = GroupCommit(self._inserter.insert, self._send)
        # 有键的另成一组：一个打开的事务占着键，只耽误问同一个键的人
        self._keyed = GroupCommit(self._insert_keyed, self._send, KeyWait(self._inserter, clock).insert)
        self._sending: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def submit(self, request: SubmitRequest, *, created_by: str | None = None, once: Once | None = None) -> Submitted:
        """Accept one task and return after its commit.

        Raises InputError, NotFoundError or ConflictError UNIQUE_TAKEN or IDEMPOTENCY_CONFLICT (nothing is stored), LimitError SUBMIT_BUSY or
        QUEUE_LIMIT, UnavailableError UNIQUE_BUSY or DATABASE_UNAVAILABLE (the task was stored once or not at all).
        """
        if once is not None and (kept := await self._kept(once)):
            return kept[0]
        task = await self.prepare(request, created_by=created_by)
        task.once = once
        del request  # 等提交时只需要编码好的
        return await self._submit(task)

    async def submit_kind(
        self, kind: TaskRequest[Any] | str, args: Any = None, *, created_by: str | None = None, **options: Any
    ) -> UUID:
        """Accept one task given as programs give it (see `request_of`) and return its id; errors as in `submit`."""
        return (await self.submit(request_of(kind, args, options), created_by=created_by)).id

    async def submit_as(self, task_id: str, request: SubmitRequest) -> Submitted:
        """Accept one task under an id that `ids.new_id` made earlier (taskiq's `kiq` names it first)."""
        return await self._submit(await self.prepare(request, task_id=UUID(task_id)))

    async def _submit(self, task: NewTask) -> Submitted:
        plain = task.unique is None and task.once is None and task.order is None
        done = await (self._group if plain else self._keyed).put(task)
        if done.late and task.once is not None:
            return (await self._kept(task.once))[0]
        if (error := taken(task, done)) is not None:
            raise error
        return submitted(task, done)

    async def submit_many(
        self, requests: Requests, *, created_by: str | None = None, once: Once | None = None
    ) -> list[Submitted]:
        """Accept all tasks or none, in one transaction; errors as in `submit`, with `index` in the details.

        `requests` are gone through once, and not kept.
        """
        if len(requests) > self._settings.batch_max_tasks:
            raise InputError(Code.BATCH_TOO_LARGE, size=len(requests), limit=self._settings.batch_max_tasks)
        if once is not None and (kept := await self._kept(once)):
            return kept
        tasks = await self._prepared(requests, created_by)
        try:
            inserted = await self._inserter.insert_batch(tasks, once)
        except LateError:
            return await self._kept(once) if once is not None else []
        self._send(tasks, inserted)
        return [submitted(task, inserted[task.id]) for task in tasks]

    async def prepare(
        self,
        request: SubmitRequest,
        *,
        created_by: str | None = None,
        schedule_id: UUID | None = None,
        fire_at: datetime | None = None,
        task_id: UUID | None = None,
    ) -> NewTask:
        """Check one request and fill in the defaults, without storing it; InputError or NotFoundError."""
        await self._ready()
        policy = self.kinds.peek(request.kind, request.version) or await self._policy(request)
        task = self._new(request, policy, self._ticketing.wanted, task_id)
        task.schedule_id, task.fire_at, task.created_by = schedule_id, fire_at, created_by
        return task

    async def _prepared(self, requests: Requests, created_by: str | None) -> list[NewTask]:
        """一批里多半是同一类型、同一条道：每样只问一次。"""
        await self._ready()
        policies: dict[tuple[str, int | None], KindPolicy | None] = {}
        wanted = cache(self._ticketing.wanted)
        tasks: list[NewTask] = []
        try:
            for request in requests:
                kind = request.kind, request.version
                if kind not in policies:
                    policies[kind] = self.kinds.peek(*kind) or await self._policy(request)
                task = self._new(request, policies[kind], wanted)
                task.created_by = created_by
                tasks.append(task)
                del request  # 否则要等下一个解码之后才放手
        except TaskmillError as error:
            error.details["index"] = len(tasks)
            raise
        return tasks

    def _new(
        self,
        request: SubmitRequest,
        policy: KindPolicy | None,
        wanted: Callable[[str, int], bool],
        task_id: UUID | None = None,
    ) -> NewTask:
        task = new_task(request, policy, self._payload, task_id)
        task.order = order_of(request, self._settings.depends_on_max)
        task.slot = self._limits.slot(task.queue, task.concurrency_key, fair=task.fairness_key is not None)
        task.ticketed = task.slot is None and task.order is None and wanted(task.queue, task.priority)
        return task

    async def _ready(self) -> None:
        """排队的人、冲刷者与连接都属于一个事件循环：别的循环进来，会把它们全弄坏。"""
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise InputError(Code.USAGE, reason=reasons.OTHER_LOOP)
        if not self._limits.fresh:
            await self._refresh_limits()

    async def close(self) -> None:
        """Wait for submits that are under way, for at most SHUTDOWN_GRACE_S; what hangs longer is cut off."""
        try:
            async with asyncio.timeout(c.SHUTDOWN_GRACE_S):
                while under_way := self._under_way():
                    await asyncio.wait(under_way)
        except TimeoutError:
            left = self._under_way()
            log.warning("有提交没能及时结束，不再等", flushers=len(left - self._sending), sending=len(self._sending))
            for task in left:
                task.cancel()

    def _under_way(self) -> set[asyncio.Task[None]]:
        return (
            self._group.under_way
            | self._keyed.under_way
            | self._keyed.apart
            | self._sending
            | self._promoter.under_way
            | self._releaser.under_way
        )

    async def _insert_keyed(self, tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
        return await self._inserter.insert(tasks, svc.UNIQUE_GROUP_MS)

    async def _kept(self, once: Once) -> list[Submitted]:
        found = await self._answers.find(once)
        kept = [] if found is None else msgspec.json.decode(found, type=list[Submitted])
        for each in kept:
            each.repeated = True
        return kept

    async def _refresh_limits(self) -> None:
        try:
            await self._limits.refresh()
        except MISSING_SCHEMA as error:
            raise SetupError(Code.SCHEMA_BEHIND, found="empty", expected="head") from error
        except AWAY as error:
            raise away(error) from error

    async def _policy(self, request: SubmitRequest) -> KindPolicy | None:
        if not naming.may_be_kind(request.kind):
            raise refuse("kind", reasons.KIND_NAME)
        try:
            look = self.kinds.find if self._settings.allow_unknown_kinds else self.kinds.get
            return await look(request.kind, request.version)
        except AWAY as error:
            raise away(error) from error

    def _send(self, tasks: Sequence[NewTask], inserted: dict[UUID, Inserted]) -> None:
        """任务已在 PostgreSQL 里，回答不等票据：Valkey 卡住也与提交者无关。"""
        for task in tasks:
            task.args, task.meta = b"", None  # 卡住的送票不必留着内容
        if held := {(task.queue, task.concurrency_key) for task in tasks if task.slot is not None}:
            self._promoter.soon(held)
        if ordered := [task for task in tasks if task.order is not None]:
            self._releaser.submitted(ordered)
        sending = asyncio.create_task(self._ticketing.send(tasks, inserted))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
