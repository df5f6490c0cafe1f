"""Dependencies: a row for each task that another still waits for, gone once that one has ended.

A child is inserted blocked, with its rows. After the commit a short transaction tells its parents (`arm`): it locks them, so
none can end meanwhile, and sets `followed`; what has ended by then is found by a later statement. Whoever ends a followed
task locks the children, deletes the rows, and only then looks what is left: of two parents that end at once the second sees
what the first did.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from taskmill.states import State
from taskmill.stores import constants as c
from taskmill.stores.database import Connection, Queryable
from taskmill.stores.tasks.submit import NewTask

GONE = "gone"  # 提交时还在，如今历史里也没有了：不知道它怎样结束，当作失败

UNKNOWN = """
select u.id from unnest($1::uuid[]) as u(id)
where not exists (select from taskmill.tasks t where t.id = u.id offset 0)
  and not exists (select from taskmill.task_history h where h.id = u.id offset 0)
"""
ADD = """
insert into taskmill.task_dependencies (child_id, parent_id, on_failure, armed)
select u.*, false from unnest($1::uuid[], $2::uuid[], $3::text[]) as u
"""
FRESH = "select child_id, parent_id from taskmill.task_dependencies where not armed order by child_id limit $1"
FRESH_OF = "select child_id, parent_id from taskmill.task_dependencies where child_id = any ($1::uuid[]) and not armed"
# 正在结束的，等它结束；还活着的，这之后结束不了，直到我们提交
LIVE = "select t.id from taskmill.tasks t where t.id = any ($1::uuid[]) order by t.id for key share"
# 认领跳过正被标记的行，票就白撕了：记成无票，stager 再发一张；多一张无妨
FOLLOW = (
    "update taskmill.tasks t set followed = true, ticket_at = null where t.id = any ($1::uuid[]) and t.followed is not true"
)
# 两张表在一条语句里看：正在移动的不会两边都不见。不留历史的队列里结束的，若等它的太多，还记在 ended_parents 里
ENDED = """
select u.id, coalesce(f.state, (select e.state from taskmill.ended_parents e where e.id = u.id), $2) as state
from unnest($1::uuid[]) as u(id)
left join lateral (
  select null as state, 0 as n from taskmill.tasks t where t.id = any (array[u.id])
  union all
  select h.state, 1 from taskmill.task_history h where h.id = u.id
) f on true
where f.n is distinct from 0
"""
ARMED = """
update taskmill.task_dependencies d set armed = true
from unnest($1::uuid[], $2::uuid[]) as u(child, parent) where d.child_id = u.child and d.parent_id = u.parent and not d.armed
"""
CHILDREN = "select child_id from taskmill.task_dependencies where parent_id = any ($1::uuid[]) order by child_id limit $2"
LOCK = "select t.id from taskmill.tasks t where t.id = any ($1::uuid[]) order by t.id for update"
# 锁得住的锁住；返回别人锁着的
BUSY = """
with free as materialized (
  select t.id from taskmill.tasks t where t.id = any ($1::uuid[]) order by t.id for update skip locked
)
select t.id from taskmill.tasks t where t.id = any ($1::uuid[]) and not exists (select from free f where f.id = t.id)
"""
TAKE = """
delete from taskmill.task_dependencies d
using unnest($1::uuid[], $2::uuid[]) as u(child, parent) where d.child_id = u.child and d.parent_id = u.parent
returning d.child_id, d.parent_id, d.on_failure
"""
TAKE_OF = """
delete from taskmill.task_dependencies d where d.parent_id = any ($1::uuid[]) and d.child_id = any ($2::uuid[])
returning d.child_id, d.parent_id, d.on_failure
"""
FORGET = "delete from taskmill.task_dependencies where child_id = any ($1::uuid[])"
LATER = "insert into taskmill.ended_parents (id, state) select * from unnest($1::uuid[], $2::text[]) order by 1 on conflict do nothing"
NEXT_PARENTS = "select id, state from taskmill.ended_parents order by id limit $1 for update skip locked"
DONE = """
delete from taskmill.ended_parents e
where e.id = any ($1::uuid[]) and not exists (select from taskmill.task_dependencies d where d.parent_id = e.id)
"""
# 旧程序结束了有人等的任务；一次看一段
LOST = """
with part as materialized (
  select child_id, parent_id, armed from taskmill.task_dependencies where (child_id, parent_id) > ($1, $2)
  order by child_id, parent_id limit $3
)
select s.child_id, s.parent_id, s.armed and not exists (select from taskmill.tasks t where t.id = s.parent_id offset 0)
   and not exists (select from taskmill.ended_parents e where e.id = s.parent_id offset 0) as lost
from part s order by s.child_id, s.parent_id
"""
DISARM = """
update taskmill.task_dependencies d set armed = false
from unnest($1::uuid[], $2::uuid[]) as u(child, parent) where d.child_id = u.child and d.parent_id = u.parent
"""
PARENTS = """
select d.parent_id, t.state from taskmill.task_dependencies d left join taskmill.tasks t on t.id = d.parent_id
where d.child_id = $1 order by d.parent_id
"""
Pair = tuple[UUID, UUID]  # 等的与被等的


@dataclass(slots=True)
class Resolved:
    """Children of which a parent has ended: those to look at again, and those to be cancelled with the parent that failed."""

    children: set[UUID] = field(default_factory=set)
    failed: dict[UUID, tuple[UUID, str]] = field(default_factory=dict)


async def unknown(connection: Connection, parents: Collection[UUID]) -> set[UUID]:
    """Return those of `parents` that are neither live nor in history."""
    return {row["id"] for row in await connection.fetch(UNKNOWN, sorted(parents))} if parents else set()


async def add(connection: Connection, tasks: Sequence[NewTask]) -> None:
    """Store for whom these inserted tasks wait."""
    rows = [(task.id, parent, task.order.on_failure) for task in tasks if task.order for parent in task.order.parents]
    if rows:
        await connection.execute(ADD, *map(list, zip(*sorted(rows), strict=True)))


async def arm(connection: Connection, *, of: Collection[UUID] | None = None, most: int = c.ARM_MAX) -> tuple[Resolved, int]:
    """Tell parents that they are followed, for the children `of` or any `most` rows; needs a transaction of its own.

    Returns what has ended by now, and how many rows there were.
    """
    found = await connection.fetch(FRESH, most) if of is None else await connection.fetch(FRESH_OF, sorted(of))
    if not found:
        return Resolved(), 0
    pairs = sorted((row["child_id"], row["parent_id"]) for row in found)
    parents = sorted({parent for _, parent in pairs})
    live = {row["id"] for row in await connection.fetch(LIVE, parents)}
    if live:
        await connection.execute(FOLLOW, sorted(live))
    # 刚从历史里回来的两边都不算，下一轮再看
    states = {row["id"]: row["state"] for row in await connection.fetch(ENDED, sorted(set(parents) - live), GONE)}
    over = [pair for pair in pairs if pair[1] in states]
    busy = await _lock(connection, {child for child, _ in over}, wary=True)
    over = [pair for pair in over if pair[0] not in busy]
    taken = await connection.fetch(TAKE, *_columns(over)) if over else []
    if waiting := [pair for pair in pairs if pair[1] in live]:
        await connection.execute(ARMED, *_columns(waiting))
    return _resolved(taken, states), len(pairs)


async def resolve(connection: Connection, ended: Mapping[UUID, str], *, wary: bool, most: int = c.CHILDREN_MAX) -> Resolved:
    """Take the rows of parents that the transaction has ended.

    If more than `most` children wait, or with `wary` somebody has locked one, the rest is left to the scheduler.
    """
    found = await connection.fetch(CHILDREN, sorted(ended), most + 1)
    if len(found) > most:
        await put_off(connection, ended)
        return Resolved()
    made, busy = await _resolve(connection, ended, {row["child_id"] for row in found}, wary=wary)
    if busy:
        await put_off(connection, ended)
    return made


async def resolve_some(connection: Connection, *, most: int = c.CHILDREN_MAX) -> tuple[Resolved, int]:
    """The same for parents that were put off, some of their children; needs a transaction. Returns how many, too."""
    ended = {row["id"]: row["state"] for row in await connection.fetch(NEXT_PARENTS, most)}
    if not ended:
        return Resolved(), 0
    children = {row["child_id"] for row in await connection.fetch(CHILDREN, sorted(ended), most)}
    made, busy = await _resolve(connection, ended, children, wary=True)
    await connection.execute(DONE, sorted(ended))
    return made, len(children) - len(busy)


async def put_off(connection: Connection, ended: Mapping[UUID, str]) -> None:
    """Leave the children of these parents to the scheduler."""
    ids = sorted(ended)
    await connection.execute(LATER, ids, [ended[each] for each in ids])


async def forget(connection: Connection, children: Collection[UUID]) -> None:
    """Forget for whom these tasks waited; they have ended."""
    await connection.execute(FORGET, sorted(children))


async def mend(connection: Queryable, after: Pair, most: int) -> tuple[int, Pair | None]:
    """Have rows looked at again whose parent is no longer live; returns how many, and where to go on (None: at the end)."""
    rows = await connection.fetch(LOST, *after, most)
    if lost := [(row["child_id"], row["parent_id"]) for row in rows if row["lost"]]:
        await connection.execute(DISARM, *_columns(lost))
    return len(lost), (rows[-1]["child_id"], rows[-1]["parent_id"]) if len(rows) == most else None


async def parents(connection: Queryable, child: UUID) -> list[tuple[UUID, State | None]]:
    """Return for whom a task waits, and in which state they are; None: it has just ended."""
    return [(row["parent_id"], row["state"] and State(row["state"])) for row in await connection.fetch(PARENTS, child)]


async def _resolve(
    connection: Connection, ended: Mapping[UUID, str], children: Collection[UUID], *, wary: bool
) -> tuple[Resolved, set[UUID]]:
    busy = await _lock(connection, children, wary=wary)
    free = sorted(set(children) - busy)
    return _resolved(await connection.fetch(TAKE_OF, sorted(ended), free), ended) if free else Resolved(), busy


async def _lock(connection: Connection, children: Collection[UUID], *, wary: bool) -> set[UUID]:
    """返回没能锁住的。"""
    if not children:
        return set()
    rows = await connection.fetch(BUSY if wary else LOCK, sorted(children))
    return {row["id"] for row in rows} if wary else set()


def _resolved(rows: Sequence[Mapping[str, object]], states: Mapping[UUID, str]) -> Resolved:
    made = Resolved()
    for row in rows:
        child, parent = UUID(str(row["child_id"])), UUID(str(row["parent_id"]))
        made.children.add(child)
        if states[parent] != State.COMPLETED and row["on_failure"] == "cancel":
            made.failed[child] = (parent, states[parent])
    return made


def _columns(pairs: Sequence[Pair]) -> tuple[list[UUID], list[UUID]]:
    return [child for child, _ in pairs], [parent for _, parent in pairs]
