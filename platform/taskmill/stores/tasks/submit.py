"""INSERT of new tasks by arrays; the only statements that make a task row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from taskmill.controls.once import Once
from taskmill.controls.unique import Unique
from taskmill.models.task_queue import KEYED
from taskmill.stores import constants as c
from taskmill.stores.arrays import sparse, uniform
from taskmill.stores.database import Connection, Queryable
from taskmill.stores.tasks.history import NOW_MS

TAG_SEPARATOR = "\x1f"


class Uniqueness(Unique, frozen=True, kw_only=True):
    """The rule of a new task; without a `key` of its own, JSON bytes `of` which the key is made."""

    of: bytes | None


@dataclass(slots=True)
class Order:
    """After which tasks a new one comes: those before it in its sequence, and its `parents`.

    `stop`: the sequence stops if it fails. `on_failure` of a parent: `cancel` or `run`. `sequence_no` is drawn in the transaction.
    """

    sequence_key: str | None
    stop: bool
    parents: Sequence[UUID]
    on_failure: str
    sequence_no: int | None = None


class NewTask(msgspec.Struct):
    """One task to insert; `args` and `meta` are JSON bytes, `delay_s` counts from the database's now().

    `run_at` None and `delay_s` 0 make it available at once. `ticketed` says that the submitter will ticket it; `slot` where
    it lines up in a queue with limits (see `stores.tasks.limits`).
    """

    id: UUID
    queue: str
    kind: str
    kind_version: int
    priority: int
    args: bytes
    max_attempts: int
    timeout_ms: int
    meta: bytes | None = None
    tags: Sequence[str] = ()
    run_at: datetime | None = None
    delay_s: float = 0.0
    expires_at: datetime | None = None
    schedule_id: UUID | None = None
    fire_at: datetime | None = None
    created_by: str | None = None
    ticketed: bool = True
    unique: Uniqueness | None = None
    concurrency_key: str | None = None
    fairness_key: str | None = None
    slot: int | None = None
    once: Once | None = None
    order: Order | None = None


class Inserted(NamedTuple):
    """What the database decided: `available` and `ticket_ms` (None: no ticket wanted, the stager will).

    `duplicate_of` is the task that has the key, if that is why this one was not stored; state and time are that task's
    then, None once it is pruned, and `replaced` says that it got this one's args and time. `late`: another request with the same Idempotency-Key was
    first, and nothing was done.
    """

    state: str | None
    run_at: datetime | None
    ticket_ms: int | None
    duplicate_of: UUID | None = None
    replaced: bool = False
    unique_key: str | None = None
    late: bool = False


# 批里的一列：名字、类型、从任务取值、全批都是它就不传的默认值（NEVER：总是传；SAME：全批一样就只传一个，从不为空）
NEVER: Final = object()
SAME: Final = object()
Form = Sequence[tuple[str, str, Callable[[NewTask], Any], Any]]
FORM: Final[Form] = (
    ("id", "uuid", attrgetter("id"), NEVER),
    ("queue", "text", attrgetter("queue"), SAME),
    ("kind", "text", attrgetter("kind"), SAME),
    ("kind_version", "int", attrgetter("kind_version"), SAME),
    ("priority", "smallint", attrgetter("priority"), SAME),
    ("args", "jsonb", attrgetter("args"), NEVER),
    ("meta", "jsonb", attrgetter("meta"), None),
    ("tags", "text", lambda task: TAG_SEPARATOR.join(task.tags) if task.tags else None, None),
    ("max_attempts", "int", attrgetter("max_attempts"), SAME),
    ("timeout_ms", "int", attrgetter("timeout_ms"), SAME),
    ("run_at", "timestamptz", attrgetter("run_at"), None),
    ("delay", "interval", lambda task: timedelta(seconds=task.delay_s) if task.delay_s else None, None),
    ("expires_at", "timestamptz", attrgetter("expires_at"), None),
    ("schedule_id", "uuid", attrgetter("schedule_id"), None),
    ("fire_at", "timestamptz", attrgetter("fire_at"), None),
    ("created_by", "text", attrgetter("created_by"), None),
    ("ticketed", "bool", attrgetter("ticketed"), True),
)
_NAMES: Final = [name for name, *_ in FORM]
# 行里的值：多半就是批里的那一列
VALUES: Final = {
    **{name: f"u.{name}" for name in _NAMES if name not in {"delay", "ticketed"}},
    "tags": "string_to_array(u.tags, E'\\x1f')",
    "state": "case when d.due <= now() then 'available' else 'scheduled' end",
    "run_at": "d.due",
    "ticket_at": f"case when coalesce(u.ticketed, true) and d.due <= now() then {NOW_MS} end",
}
DUE: Final = "select coalesce(u.run_at, now() + coalesce(u.delay, interval '0')) as due"


def unnested(form: Form) -> str:
    """Return the rows of the arrays in this form, as a subquery."""
    arrays = ", ".join(f"${n}::{sort}[]" for n, (_, sort, *_) in enumerate(form, 1))
    names = ", ".join(
        f"coalesce(a.{name}, (${n}::{sort}[])[1]) as {name}" if default is SAME else f"a.{name}"
        for n, (name, sort, _, default) in enumerate(form, 1)
    )
    return f"(select {names} from unnest({arrays}) as a({', '.join(name for name, *_ in form)}))"


def inserting(form: Form, values: Mapping[str, str]) -> str:
    """Return the insert of arrays in this form; the transition submit: None → available / scheduled, may run once it is due."""
    return f"""
insert into taskmill.tasks ({", ".join(values)})
select {", ".join(values.values())}
from {unnested(form)} u
cross join lateral ({DUE}) d
returning id, state, run_at, (extract(epoch from ticket_at) * 1000)::bigint as ticket_ms
"""


INSERT = inserting(FORM, VALUES)
# 都马上要跑的（多半如此）：状态与时刻大家一样，只回一行。最后一个参数：有没有票
NOW_FORM: Final[Form] = [column for column in FORM if column[0] not in {"run_at", "delay", "ticketed"}]
_TICKETED: Final = f"${len(NOW_FORM) + 1}::bool"
NOW_VALUES: Final = {
    **VALUES,
    "state": "'available'",
    "run_at": "now()",
    "ticket_at": f"case when {_TICKETED} then {NOW_MS} end",
}
INSERT_NOW = f"""
with made as (
  insert into taskmill.tasks ({", ".join(NOW_VALUES)}) select {", ".join(NOW_VALUES.values())} from {unnested(NOW_FORM)} u
)
select 'available' as state, now() as run_at, case when {_TICKETED} then (extract(epoch from {NOW_MS}) * 1000)::bigint end as ticket_ms
"""
# 有并发键、公平键的，进有上限的队列的：多三列。多数任务都没有，不为它们付账
KEYED_FORM: Final[Form] = (
    *FORM,
    ("concurrency_key", "text", attrgetter("concurrency_key"), None),
    ("slot", "smallint", attrgetter("slot"), None),
    ("fairness_key", "text", attrgetter("fairness_key"), None),
)
# 有没有按键的上限，提交者记得的可能已过时：以表为准，否则带键的会绕过它
_SLOT = f"""case when d.due <= now() and u.slot is not null and u.concurrency_key is not null
     then (select case when {KEYED} then 0 when u.fairness_key is not null then 3 else 1 end from taskmill.queues q where q.name = u.queue)
     when d.due <= now() then u.slot end"""
KEYED_VALUES: Final = {**VALUES, "concurrency_key": "u.concurrency_key", "fairness_key": "u.fairness_key", "slot": _SLOT}
INSERT_KEYED = inserting(KEYED_FORM, KEYED_VALUES)
# 有先后的：先挡着，提交之后才看轮到谁、等的都结束了没有
ORDERED_FORM: Final[Form] = (
    *KEYED_FORM,
    ("blocked", "bool", lambda task: task.order is not None, False),
    ("sequence_key", "text", lambda task: task.order and task.order.sequence_key, None),
    ("sequence_no", "bigint", lambda task: task.order and task.order.sequence_no, None),
    ("sequence_stop", "bool", lambda task: (task.order is not None and task.order.stop) or None, None),
)
ORDERED_VALUES: Final = {
    **KEYED_VALUES,
    "state": f"case when u.blocked then 'blocked' else {VALUES['state']} end",
    "ticket_at": f"case when u.blocked is not true then {VALUES['ticket_at']} end",
    "slot": f"case when u.blocked is not true then {_SLOT} end",
    "sequence_key": "u.sequence_key",
    "sequence_no": "u.sequence_no",
    "sequence_stop": "u.sequence_stop",
}
INSERT_ORDERED = inserting(ORDERED_FORM, ORDERED_VALUES)
QUEUES = "insert into taskmill.queues (name) select unnest($1::text[]) on conflict do nothing returning name"


def columns(tasks: Sequence[NewTask], form: Form = FORM) -> Iterator[list[Any]]:
    """Return the arrays of a batch, one for each column of `form`."""
    for _, _, value, default in form:
        values = [value(task) for task in tasks]
        if default is SAME:
            yield uniform(values)
        else:
            yield values if default is NEVER else sparse(values, default)


async def insert(connection: Connection, tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
    """Insert all `tasks`, none of them with an `order`, in one statement, sorted by id; returns one Inserted per id. Errors: asyncpg's."""
    ordered = sorted(tasks, key=attrgetter("id.int"))  # UUID 自己比，慢得多
    keyed = any(task.slot is not None or task.concurrency_key is not None for task in ordered)
    if not keyed and (ticketed := _now(ordered)) is not None:
        rows = await connection.fetch(INSERT_NOW, *columns(ordered, NOW_FORM), ticketed)
        return dict.fromkeys([task.id for task in ordered], Inserted(*rows[0]))
    statement, form = (INSERT_KEYED, KEYED_FORM) if keyed else (INSERT, FORM)
    rows = await connection.fetch(statement, *columns(ordered, form))
    return {task_id: Inserted(state, run_at, ticket_ms) for task_id, state, run_at, ticket_ms in rows}


def _now(tasks: Sequence[NewTask]) -> bool | None:
    """都马上要跑，而且都有票或都没有：有没有；否则 None。"""
    ticketed = tasks[0].ticketed
    alike = all(task.run_at is None and not task.delay_s and task.ticketed is ticketed for task in tasks)
    return ticketed if alike else None


async def insert_ordered(connection: Connection, tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
    """The same for tasks whose `order` has its number; they are blocked until somebody looks whose turn it is."""
    rows = await connection.fetch(INSERT_ORDERED, *columns(sorted(tasks, key=lambda t: t.id), ORDERED_FORM))
    return {row["id"]: Inserted(row["state"], row["run_at"], row["ticket_ms"]) for row in rows}


async def ensure_queues(connection: Queryable, names: Sequence[str]) -> list[str]:
    """Make the rows of queues that have none yet; returns their names."""
    return [row["name"] for row in await connection.fetch(QUEUES, sorted(names))]


async def count_queues(connection: Connection) -> int:
    """Return how many queues there are, after those that other transactions are making; who asks holds them up until it ends."""
    await connection.execute("select pg_advisory_xact_lock($1)", c.QUEUES_LOCK_KEY)
    rows = await connection.fetch("select count(*) as n from taskmill.queues")
    return int(rows[0]["n"])
