"""What a submit does in its transaction: queues, room, tasks, keys, and the answer that is kept. All of it or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

import msgspec

from taskmill.clock import Clock
from taskmill.controls.once import Once
from taskmill.errors import Code, InputError, LimitError, SetupError, TaskmillError, UnavailableError
from taskmill.services import constants as svc
from taskmill.services.faults import translate
from taskmill.services.queues.limits import LimitCache
from taskmill.services.tasks import order
from taskmill.services.tasks.idempotency import LateError
from taskmill.services.tasks.submitted import submitted
from taskmill.services.tasks.unique import busy, taken
from taskmill.settings import Settings
from taskmill.stores import idempotency
from taskmill.stores.database import AWAY, MISSING_SCHEMA, Connection, Database
from taskmill.stores.idempotency import Answer
from taskmill.stores.queues import capacity
from taskmill.stores.tasks import submit as store
from taskmill.stores.tasks import unique
from taskmill.stores.tasks.order import sequences
from taskmill.stores.tasks.submit import Inserted, NewTask
from taskmill.stores.tasks.unique import KeyHeldError
from taskmill.stores.why import why


class Inserter:
    """Inserts prepared tasks, in a transaction of its own or in the caller's."""

    def __init__(self, settings: Settings, database: Database, limits: LimitCache, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._limits = limits
        self._clock = clock
        self._known_queues: dict[str, float] = {}  # 队列 → 登记到何时可信

    async def insert(self, tasks: Sequence[NewTask], wait_ms: int = 0, once: Once | None = None) -> dict[UUID, Inserted]:
        """Insert a group and return what became of each; errors as of a submit.

        `wait_ms`: how long for keys that another transaction holds; then KeyHeldError, and nothing is stored. Of tasks with
        the same Idempotency-Key in another transaction that was first, nothing is stored: `late`.
        """
        return await self._commit(tasks, wait_ms, batch=False, once=once) if tasks else {}

    async def insert_batch(self, tasks: Sequence[NewTask], once: Once | None) -> dict[UUID, Inserted]:
        """Insert all or none: also ConflictError UNIQUE_TAKEN with the `index`, UNIQUE_BUSY, LateError."""
        try:
            return await self._commit(tasks, round(svc.UNIQUE_WAIT_S * 1000), batch=True, once=once) if tasks else {}
        except KeyHeldError as held:
            raise busy(tasks, held) from None

    async def drawn(self, key: str) -> int | None:
        """Return the last number of a sequence, to see whether its submits get through; errors as of a submit."""
        try:
            return await sequences.drawn(self._database.pool, key)
        except AWAY as error:
            raise away(error) from error

    async def _commit(
        self, tasks: Sequence[NewTask], wait_ms: int, *, batch: bool, once: Once | None
    ) -> dict[UUID, Inserted]:
        now = self._clock.monotonic()
        fresh = self._unknown((task.queue for task in tasks), now)
        single = not (once or fresh or self._limits.most({task.queue for task in tasks})) and _in_one(tasks)

        async def work(connection: Connection) -> dict[UUID, Inserted]:
            if fresh:
                await self._register(connection, fresh)
            inserted = await self._insert(connection, tasks, wait_ms)
            if batch:
                if any(task.unique is not None for task in tasks):
                    _refuse_duplicates(tasks, inserted)
                await _keep_batch(connection, tasks, inserted, wait_ms, once)
            else:
                await _keep(connection, tasks, inserted, wait_ms)
            return inserted

        try:
            inserted = await self._database.unit(work, single=single)
        except MISSING_SCHEMA as error:
            raise SetupError(Code.SCHEMA_BEHIND, found="empty", expected="head") from error
        except AWAY as error:
            raise away(error) from error
        except InputError as error:
            if not batch:
                error.details.pop("index", None)
            raise
        self._known_queues.update(dict.fromkeys(fresh, now + svc.QUEUE_KNOWN_S))
        return inserted

    async def _insert(self, connection: Connection, tasks: Sequence[NewTask], wait_ms: int) -> dict[UUID, Inserted]:
        if full := self._limits.most({task.queue for task in tasks}):
            await _check_room(connection, tasks, full)
        ordered = [task for task in tasks if task.order is not None]
        rest = tasks if not ordered else [task for task in tasks if task.order is None]
        plain, keyed = [task for task in rest if task.unique is None], [task for task in rest if task.unique is not None]
        inserted: dict[UUID, Inserted] = {}
        if ordered:
            await order.check_parents(connection, tasks)
        for start in range(0, len(plain), svc.SUBMIT_CHUNK):
            inserted |= await store.insert(connection, plain[start : start + svc.SUBMIT_CHUNK])
        if keyed:
            inserted |= await unique.insert(connection, keyed, wait_ms, last=not ordered)
        for start in range(0, len(ordered), svc.SUBMIT_CHUNK):
            inserted |= await order.insert(connection, ordered[start : start + svc.SUBMIT_CHUNK], wait_ms)
        return inserted

    async def store(self, connection: Connection, tasks: Sequence[NewTask]) -> dict[UUID, UUID | TaskmillError]:
        """Insert prepared tasks in the caller's transaction; the stager tickets them after the commit.

        Returns for each that was not stored the task that has its key, or why there is none. Errors as in `admit`.
        """
        for task in tasks:
            task.ticketed = False
        await self.admit(connection, {task.queue for task in tasks})
        if plain := [task for task in tasks if task.unique is None and task.order is None]:
            await store.insert(connection, plain)
        missing: dict[UUID, UUID | TaskmillError] = {}
        for task in tasks:
            if (task.unique or task.order) and (instead := await _store_keyed(connection, task)) is not None:
                missing[task.id] = instead
        return missing

    async def know(self, queues: Collection[str]) -> None:
        """Make the queues that are missing, in a transaction of its own that commits at once; errors as of a submit.

        A caller's transaction that made them would hold up everybody else's submits to them until it ends.
        """
        now = self._clock.monotonic()
        if not (fresh := self._unknown(queues, now)):
            return
        try:
            await self._database.unit(lambda connection: self._register(connection, fresh))
        except MISSING_SCHEMA as error:
            raise SetupError(Code.SCHEMA_BEHIND, found="empty", expected="head") from error
        except AWAY as error:
            raise away(error) from error
        self._known_queues.update(dict.fromkeys(fresh, now + svc.QUEUE_KNOWN_S))

    def _unknown(self, queues: Iterable[str], now: float) -> set[str]:
        return {queue for queue in queues if self._known_queues.get(queue, now) <= now}

    async def admit(self, connection: Connection, queues: set[str]) -> None:
        """Make the queues that are missing; LimitError QUEUE_LIMIT, which leaves the caller's transaction as it was."""
        async with connection.transaction():
            await self._register(connection, queues)

    async def _register(self, connection: Connection, queues: set[str]) -> None:
        made, limit = await store.ensure_queues(connection, sorted(queues)), self._settings.queues_max
        if made and await store.count_queues(connection) > limit:
            raise LimitError(Code.QUEUE_LIMIT, queue=made[0], limit=limit)


def _in_one(tasks: Sequence[NewTask]) -> bool:
    """一条语句就够：它自己就是一个事务。"""
    plain = all(task.unique is None and task.order is None and task.once is None for task in tasks)
    return plain and len(tasks) <= svc.SUBMIT_CHUNK


async def _store_keyed(connection: Connection, task: NewTask) -> UUID | TaskmillError | None:
    try:
        async with connection.transaction():  # 键被占着，只赔上这一个
            insert = unique.insert if task.order is None else order.insert
            done = (await insert(connection, [task], svc.UNIQUE_GROUP_MS))[task.id]
    except KeyHeldError as held:
        return busy([task], held, svc.UNIQUE_GROUP_MS / 1000)
    return taken(task, done) or done.duplicate_of


async def _check_room(connection: Connection, tasks: Sequence[NewTask], most: dict[str, int]) -> None:
    """整批一起算：放不下就一个也不收。"""
    rooms = await capacity.room(connection, most)
    wanted = Counter(task.queue for task in tasks)
    for queue, room in rooms.items():
        if wanted[queue] > room:
            raise LimitError(Code.QUEUE_FULL, queue=queue, limit=most[queue], waiting=most[queue] - room)


def _refuse_duplicates(tasks: Sequence[NewTask], inserted: dict[UUID, Inserted]) -> None:
    for index, task in enumerate(tasks):
        if task.unique is not None and (error := taken(task, inserted[task.id])) is not None:
            error.details["index"] = index
            raise error


async def _keep(connection: Connection, tasks: Sequence[NewTask], inserted: dict[UUID, Inserted], wait_ms: int) -> None:
    """回答与任务同生共死；别人先回答了的，撤回自己的。"""
    made = [
        Answer(task.once, msgspec.json.encode([submitted(task, inserted[task.id])]), task.id)
        for task in tasks
        if task.once is not None and taken(task, inserted[task.id]) is None
    ]
    if made and (late := await idempotency.save(connection, made, wait_ms)):
        await unique.undo(connection, late)
        inserted |= dict.fromkeys(late, Inserted(None, None, None, late=True))


async def _keep_batch(
    connection: Connection, tasks: Sequence[NewTask], inserted: dict[UUID, Inserted], wait_ms: int, once: Once | None
) -> None:
    if once is None:
        return
    body = msgspec.json.encode([submitted(task, inserted[task.id]) for task in tasks])
    if await idempotency.save(connection, [Answer(once, body, tasks[0].id)], wait_ms):
        raise LateError


def away(error: BaseException) -> TaskmillError:
    """Return what an error of PostgreSQL says to a submitter."""
    return translate(error) or UnavailableError(Code.DATABASE_UNAVAILABLE, reason=why(error))
