"""The one way into the system: check, fill in defaults, insert in groups, ticket after the commit."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from unicodedata import category
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill import reasons
from taskmill.bounds import bad_delay, bad_moment
from taskmill.clock import Clock
from taskmill.errors import Code, InputError, LimitError, SetupError, TaskmillError, UnavailableError
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.plugin.definition import QUEUE_PATTERN
from taskmill.services.faults import translate
from taskmill.services.kinds import KindCache, KindPolicy
from taskmill.services.tasks.payload import encode
from taskmill.services.tasks.ticketing import Ticketing
from taskmill.settings import Settings
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.database import AWAY, DATA_ERRORS, MISSING_SCHEMA, Connection, Database
from taskmill.stores.tasks import submit as store
from taskmill.stores.tasks.submit import Inserted, NewTask
from taskmill.stores.why import why
from taskmill.text.validation import in_both
from taskmill.words import Words

log = get_logger(__name__)
Waiting = tuple[NewTask, asyncio.Future[Inserted]]
TAG_PATTERN = re.compile(r"^[^\s\x00-\x1f\ud800-\udfff]+$")
STEERING = frozenset({"Cc", "Cf"})  # 控制符与格式控制符（转义序列、双向文字）：看不见，却左右显示它的终端
KIND_SHAPE = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*$")


class SubmitRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client says of a task. None means: the kind's default. Times carry a zone; durations are seconds."""

    kind: str
    args: Any = msgspec.field(default_factory=dict[str, Any])
    version: int | None = None
    queue: str | None = None
    priority: int | None = None
    run_at: datetime | None = None
    delay_s: float | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    timeout_s: float | None = None
    tags: list[str] = []
    meta: dict[str, Any] | None = None


class Submitted(msgspec.Struct):
    """What became of it: the id is final once this is returned."""

    id: UUID
    kind: str
    queue: str
    state: str
    run_at: datetime


def _refuse(field: str, reason: Words) -> InputError:
    return InputError(Code.INVALID_REQUEST, field=field, reason=reason)


class SubmitService:
    """Accepts tasks. Concurrent single submits of one process share a commit; `close` waits for them."""

    def __init__(self, settings: Settings, database: Database, tickets: Tickets, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self.kinds = KindCache(database, clock)
        self._ticketing = Ticketing(database, tickets, clock)
        self._waiting: deque[Waiting] = deque()
        self._flushers: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._known_queues: dict[str, float] = {}  # 队列 → 登记到何时可信
        self._loop: asyncio.AbstractEventLoop | None = None

    async def submit(self, request: SubmitRequest, *, created_by: str | None = None) -> Submitted:
        """Accept one task and return after its commit.

        Raises InputError or NotFoundError (nothing is stored), LimitError SUBMIT_BUSY or QUEUE_LIMIT, UnavailableError
        DATABASE_UNAVAILABLE (the task was stored once or not at all).
        """
        return await self._submit(await self.prepare(request, created_by=created_by))

    async def submit_kind(self, kind: str, args: Any = None, *, created_by: str | None = None, **options: Any) -> UUID:
        """Accept one task given as plugins give it, args as any type that msgspec knows, and return its id; errors as in `submit`."""
        try:
            request = msgspec.convert(
                {"kind": kind, "args": {} if args is None else msgspec.to_builtins(args), **options}, SubmitRequest
            )
        except msgspec.ValidationError as error:
            raise InputError(Code.INVALID_REQUEST, field="submit", reason=in_both(str(error))) from error
        return (await self.submit(request, created_by=created_by)).id

    async def submit_as(self, task_id: str, request: SubmitRequest) -> Submitted:
        """Accept one task under an id that `ids.new_id` made earlier (taskiq's `kiq` names it first)."""
        return await self._submit(await self.prepare(request, task_id=UUID(task_id)))

    async def _submit(self, task: NewTask) -> Submitted:
        if len(self._waiting) >= c.GROUP_COMMIT_QUEUE_MAX:
            raise LimitError(Code.SUBMIT_BUSY, limit=c.GROUP_COMMIT_QUEUE_MAX)
        future: asyncio.Future[Inserted] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, future))
        if len(self._flushers) < c.GROUP_COMMIT_FLUSHERS:
            self._flushers.add(asyncio.create_task(self._flush()))
        done = await future
        return Submitted(task.id, task.kind, task.queue, done.state, done.run_at)

    async def submit_many(self, requests: Sequence[SubmitRequest], *, created_by: str | None = None) -> list[Submitted]:
        """Accept all tasks or none, in one transaction; errors as in `submit`, with `index` in the details."""
        if len(requests) > self._settings.batch_max_tasks:
            raise InputError(Code.BATCH_TOO_LARGE, size=len(requests), limit=self._settings.batch_max_tasks)
        tasks: list[NewTask] = []
        for index, request in enumerate(requests):
            try:
                tasks.append(await self.prepare(request, created_by=created_by))
            except TaskmillError as error:
                error.details["index"] = index
                raise
        inserted = await self._insert(tasks)
        self._send(tasks, inserted)
        return [
            Submitted(task.id, task.kind, task.queue, inserted[task.id].state, inserted[task.id].run_at) for task in tasks
        ]

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
        self._check_loop()
        policy = self.kinds.peek(request.kind, request.version) or await self._policy(request)
        check_request(request)
        limits = self._settings
        args = encode(request.args, field="args", max_bytes=limits.args_max_bytes, max_depth=limits.args_max_depth)
        if not isinstance(request.args, dict):
            raise InputError(Code.ARGS_INVALID, field="args", reason=reasons.NOT_AN_OBJECT, kind=request.kind)
        if policy is not None:
            policy.check(request.args)
        queue = request.queue or (policy.queue if policy else c.QUEUE_DEFAULT)
        priority = request.priority or (policy.priority if policy else c.PRIORITY_DEFAULT)
        default_ms = policy.timeout_ms if policy else round(c.TIMEOUT_DEFAULT_S * 1000)
        return NewTask(
            id=task_id or new_id(),
            queue=queue,
            kind=request.kind,
            kind_version=policy.version if policy else (request.version or 1),
            priority=priority,
            args=args,
            max_attempts=request.max_attempts or (policy.max_attempts if policy else c.MAX_ATTEMPTS_DEFAULT),
            timeout_ms=round(request.timeout_s * 1000) if request.timeout_s else default_ms,
            meta=self._meta(request),
            tags=request.tags,
            run_at=request.run_at,
            delay_s=request.delay_s or 0.0,
            expires_at=request.expires_at,
            schedule_id=schedule_id,
            fire_at=fire_at,
            created_by=created_by,
            ticketed=self._ticketing.wanted(queue, priority),
        )

    def _meta(self, request: SubmitRequest) -> bytes | None:
        if request.meta is None:
            return None
        return encode(request.meta, field="meta", max_bytes=c.META_MAX_BYTES, max_depth=self._settings.args_max_depth)

    def _check_loop(self) -> None:
        """排队的人、冲刷者与连接都属于一个事件循环：别的循环进来，会把它们全弄坏。"""
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise InputError(Code.USAGE, reason=reasons.OTHER_LOOP)

    async def store(self, connection: Connection, task: NewTask) -> None:
        """Insert a prepared task in the caller's transaction; the stager tickets it after the commit."""
        task.ticketed = False
        await store.ensure_queues(connection, [task.queue])
        await store.insert(connection, [task])

    async def close(self) -> None:
        """Wait for submits that are under way, for at most SHUTDOWN_GRACE_S; what hangs longer is cut off."""
        try:
            async with asyncio.timeout(c.SHUTDOWN_GRACE_S):
                while under_way := self._flushers | self._sending:
                    await asyncio.wait(under_way)
        except TimeoutError:
            log.warning("有提交没能及时结束，不再等", flushers=len(self._flushers), sending=len(self._sending))
            for task in self._flushers | self._sending:
                task.cancel()

    async def _policy(self, request: SubmitRequest) -> KindPolicy | None:
        if not KIND_SHAPE.fullmatch(request.kind) or len(request.kind) > c.NAME_MAX_CHARS:
            raise _refuse("kind", reasons.KIND_NAME)
        try:
            return await self.kinds.get(request.kind, request.version)
        except TaskmillError as error:
            if error.code is Code.KIND_NOT_FOUND and self._settings.allow_unknown_kinds:
                return None
            raise
        except AWAY as error:
            raise _away(error) from error

    async def _flush(self) -> None:
        try:
            while self._waiting:
                await self._accept(
                    [self._waiting.popleft() for _ in range(min(len(self._waiting), c.GROUP_COMMIT_MAX_TASKS))]
                )
        finally:
            # 看到没有人在等与除名之间不能让出：刚醒来的提交者见名额已满就不会再叫人，然后一直等下去
            self._flushers -= {asyncio.current_task()}

    async def _accept(self, batch: Sequence[Waiting]) -> None:
        tasks = [task for task, _ in batch]
        try:
            inserted = await self._insert(tasks)
        except Exception as error:  # noqa: BLE001 - 原样交给每个等待者
            if len(batch) > 1 and isinstance(error, (*DATA_ERRORS, LimitError)):
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
        self._send(tasks, inserted)

    def _send(self, tasks: Sequence[NewTask], inserted: dict[UUID, Inserted]) -> None:
        """任务已在 PostgreSQL 里，回答不等票据：Valkey 卡住也与提交者无关。"""
        sending = asyncio.create_task(self._ticketing.send(tasks, inserted))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _insert(self, tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
        if not tasks:
            return {}
        now = self._clock.monotonic()
        fresh = {task.queue for task in tasks if self._known_queues.get(task.queue, now) <= now}

        async def work(connection: Connection) -> dict[UUID, Inserted]:
            if fresh:
                await self._register(connection, fresh)
            inserted: dict[UUID, Inserted] = {}
            for start in range(0, len(tasks), c.SUBMIT_CHUNK):
                inserted |= await store.insert(connection, tasks[start : start + c.SUBMIT_CHUNK])
            return inserted

        try:
            inserted = await self._database.unit(work)
        except MISSING_SCHEMA as error:
            raise SetupError(Code.SCHEMA_BEHIND, found="empty", expected="head") from error
        except AWAY as error:
            raise _away(error) from error
        self._known_queues.update(dict.fromkeys(fresh, now + c.QUEUE_KNOWN_S))
        return inserted

    async def _register(self, connection: Connection, queues: set[str]) -> None:
        made, limit = await store.ensure_queues(connection, sorted(queues)), self._settings.queues_max
        if made and await store.count_queues(connection) > limit:
            raise LimitError(Code.QUEUE_LIMIT, queue=made[0], limit=limit)


def check_request(request: SubmitRequest) -> None:
    """Raise InputError unless everything but kind and args, which need the kinds, is sound."""
    if request.version is not None and not 1 <= request.version <= c.VERSION_MAX:
        raise _refuse("version", reasons.WITHIN(low=1, high=c.VERSION_MAX))
    if request.queue is not None and (
        len(request.queue) > c.NAME_MAX_CHARS or QUEUE_PATTERN.fullmatch(request.queue) is None
    ):
        raise _refuse("queue", reasons.QUEUE_NAME(limit=c.NAME_MAX_CHARS))
    if request.priority is not None and request.priority not in c.PRIORITIES:
        raise _refuse("priority", reasons.WITHIN(low=min(c.PRIORITIES), high=max(c.PRIORITIES)))
    _check_times(request)
    if request.tags:
        _check_tags(request.tags)
    _check_budget(request)


def _check_times(request: SubmitRequest) -> None:
    if request.delay_s is not None and (reason := bad_delay(request.delay_s)) is not None:
        raise _refuse("delay_s", reason)
    if request.run_at is not None and request.delay_s is not None:
        raise _refuse("delay_s", reasons.RUN_AT_OR_DELAY)
    for field, value in (("run_at", request.run_at), ("expires_at", request.expires_at)):
        if value is not None and value.tzinfo is None:
            raise _refuse(field, reasons.NEEDS_ZONE)
        # 驱动读不回年份 0 或 10000：一个这样的任务会让同组提交全部失败
        if value is not None and (reason := bad_moment(value)) is not None:
            raise _refuse(field, reason)


def _check_budget(request: SubmitRequest) -> None:
    if request.max_attempts is not None and not 1 <= request.max_attempts <= c.MAX_ATTEMPTS_LIMIT:
        raise _refuse("max_attempts", reasons.WITHIN(low=1, high=c.MAX_ATTEMPTS_LIMIT))
    if request.timeout_s is not None and not 0 < request.timeout_s <= c.TIMEOUT_MAX_S:
        raise _refuse("timeout_s", reasons.ABOVE_ZERO(limit=f"{c.TIMEOUT_MAX_S:.0f}"))


def _check_tags(tags: list[str]) -> None:
    if len(tags) > c.TAGS_MAX:
        raise _refuse("tags", reasons.AT_MOST(limit=c.TAGS_MAX))
    for index, tag in enumerate(tags):
        if len(tag) > c.NAME_MAX_CHARS or TAG_PATTERN.fullmatch(tag) is None or STEERING.intersection(map(category, tag)):
            raise InputError(Code.INVALID_REQUEST, field=f"tags[{index}]", reason=reasons.NOT_A_TAG(limit=c.NAME_MAX_CHARS))


def _away(error: BaseException) -> TaskmillError:
    return translate(error) or UnavailableError(Code.DATABASE_UNAVAILABLE, reason=why(error))
