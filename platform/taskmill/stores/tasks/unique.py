"""Unique tasks: the partial unique index `tasks_unique` decides who is a duplicate, `unique_keys` holds keys beyond the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Final
from uuid import UUID

from taskmill.models.task import UNIQUE_HELD
from taskmill.states import By, sources
from taskmill.stores import constants as c
from taskmill.stores.arrays import sparse
from taskmill.stores.database import LOCKED_OUT, Connection, Record
from taskmill.stores.tasks import submit
from taskmill.stores.tasks.history import state_in
from taskmill.stores.tasks.submit import DUE, ORDERED_FORM, ORDERED_VALUES, Inserted, NewTask

# 由参数来的键在此算：jsonb 的写法是唯一的，REST、Python 与 SQL 因此得到同一个键
_KEY = """coalesce(x.given_key,
  x.kind || ':' || left(encode(sha256(convert_to(x.unique_of::text, 'UTF8')), 'hex'), 32))"""
_FORM: Final = (
    *ORDERED_FORM,
    ("given_key", "text", attrgetter("unique.key"), None),
    ("unique_of", "jsonb", attrgetter("unique.of"), None),
    ("unique_while", "text", attrgetter("unique.while_"), submit.SAME),
)
# 转移 submit：None → available / scheduled。键被占着的不插入；同一批里的第二个也一样。
# 等别人多久，由它自己先定好，不为此多走一趟；在此才算出来的键一并答，两样不连接：嵌套循环是平方
INSERT = f"""
with bound as materialized (
  select set_config('lock_timeout', ${len(_FORM) + 1}, true)
), u as materialized (
  select x.*, {_KEY} as unique_key
  from bound, {submit.unnested(_FORM)} x
), i as (
  insert into taskmill.tasks ({", ".join(ORDERED_VALUES)}, unique_key, unique_while)
  select {", ".join(ORDERED_VALUES.values())}, u.unique_key, u.unique_while from u cross join lateral ({DUE}) d
  on conflict (unique_key) where {UNIQUE_HELD} do nothing
  returning id, unique_key, state, run_at, (extract(epoch from ticket_at) * 1000)::bigint as ticket_ms
)
select id, unique_key, state, run_at, ticket_ms from i
union all
select u.id, u.unique_key, null, null, null from u where u.given_key is null
"""
# 占到结束之后：过了期的键谁先来归谁
HOLD = """
insert into taskmill.unique_keys as k (key, task_id, until)
select u.key, u.task_id, now() + u.period from unnest($1::text[], $2::uuid[], $3::interval[]) as u(key, task_id, period)
order by 1
on conflict (key) do update set task_id = excluded.task_id, until = excluded.until where k.until <= now()
"""
# 每个键连同这一批里插入的那一个（没有就是空）：只答别人
HOLDERS = f"""
select t.unique_key as key, t.id, t.state, t.run_at, true as live
from unnest($1::text[], $2::uuid[]) as u(key, own) cross join lateral (
  select t.unique_key, t.id, t.state, t.run_at from taskmill.tasks t where t.unique_key = u.key and {UNIQUE_HELD} offset 0) t
where t.id is distinct from u.own
union all
select k.key, k.task_id, f.state, f.run_at, false
from unnest($1::text[], $2::uuid[]) as u(key, own) cross join lateral (
  select k.key, k.task_id from taskmill.unique_keys k where k.key = u.key and k.until > now() offset 0) k
left join lateral (
  select t.state, t.run_at from taskmill.tasks t where t.id = k.task_id
  union all
  select h.state, h.run_at from taskmill.task_history h where h.id = k.task_id
) f on true
where k.task_id is distinct from u.own
"""
BEFORE = "select current_setting('lock_timeout')"
# 之前的上限，以及从此的上限
BOUND = "select b.before from (select current_setting('lock_timeout') as before) b, set_config('lock_timeout', $1, true)"
UNDO = "delete from taskmill.tasks where id = any ($1::uuid[])"
UNWAIT = "delete from taskmill.task_dependencies where child_id = any ($1::uuid[])"
UNHOLD = "delete from taskmill.unique_keys where task_id = any ($1::uuid[]) and until > now()"
# 转移 replace：available → scheduled（新的时间在将来）；别的等待态不变，由 stager 到时放行
REPLACE = f"""
update taskmill.tasks t
set args = u.args, kind_version = u.kind_version, run_at = d.due, updated_at = clock_timestamp(),
    state = case when t.state = 'available' and d.due > now() then 'scheduled' else t.state end,
    ticket_at = case when t.state = 'available' and d.due <= now() then t.ticket_at end,
    slot = case when t.state = 'available' and d.due <= now() then t.slot end
from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::jsonb[], $6::timestamptz[], $7::interval[])
  as u(id, key, kind, kind_version, args, run_at, delay)
cross join lateral ({DUE}) d
where t.id = any (array[u.id]) and t.unique_key = u.key and t.kind = u.kind and {state_in(sources(By.REPLACE))}
returning t.id, t.state, t.run_at
"""


class KeyHeldError(Exception):
    """Another transaction holds a key and has not ended within the time; nothing was stored. `sequence`: the key of a sequence."""

    def __init__(self, *, sequence: bool = False) -> None:
        super().__init__()
        self.sequence = sequence


@dataclass(frozen=True, slots=True)
class _Holder:
    id: UUID
    state: str | None
    run_at: datetime | None


async def insert(
    connection: Connection, tasks: Sequence[NewTask], wait_ms: int, *, last: bool = False
) -> dict[UUID, Inserted]:
    """Insert those of `tasks`, all unique, whose key is free; returns for each what became of it.

    Has to run in a transaction, which waits `wait_ms` at most for another that holds a key or row: then KeyHeldError, and
    the transaction is lost. A task whose key is taken is not stored: `duplicate_of` names the one that has it. `last`: nothing
    after it waits for locks, so that the bound may stand until the transaction ends; that saves two round trips.
    """
    done: dict[UUID, Inserted] = {}
    todo = sorted(tasks, key=_order)
    before = None if last else await connection.fetchval(BEFORE)
    try:
        for _ in range(c.UNIQUE_TRIES):
            done |= await _round(connection, todo, wait_ms)
            todo = [task for task in todo if task.id not in done]
            if not todo:
                break
        else:
            raise KeyHeldError
    except LOCKED_OUT as error:
        raise KeyHeldError from error
    if before is not None:
        await connection.fetchval(BOUND, before)
    return done


def _order(task: NewTask) -> tuple[str, bytes]:
    """大家按同一次序占键，才不会互相等；写法不同而键相同的，撞上了由死锁检测重来。"""
    unique = task.unique
    return (task.kind, b"") if unique is None else (unique.key or task.kind, unique.of or b"")


async def undo(connection: Connection, ids: Collection[UUID]) -> None:
    """Take back tasks that this transaction inserted, with the keys that they hold."""
    await connection.execute(UNDO, sorted(ids))
    await connection.execute(UNHOLD, sorted(ids))
    await connection.execute(UNWAIT, sorted(ids))


async def _round(connection: Connection, tasks: Sequence[NewTask], wait_ms: int) -> dict[UUID, Inserted]:
    """键的主人在看之前恰好结束了的，不在返回之列，要再来一次。"""
    rows = await connection.fetch(INSERT, *submit.columns(tasks, _FORM), str(wait_ms))
    keys: dict[UUID, str] = {task.id: task.unique.key for task in tasks if task.unique and task.unique.key}
    keys |= {row["id"]: row["unique_key"] for row in rows}
    new = {row["id"]: Inserted(row["state"], row["run_at"], row["ticket_ms"], unique_key=row["unique_key"])
           for row in rows if row["state"] is not None}  # fmt: skip
    await _hold(connection, [task for task in tasks if task.id in new], keys)
    own = {keys[task_id]: task_id for task_id in new}
    asked = sorted(set(keys.values()))
    others = _holders(await connection.fetch(HOLDERS, asked, [own.get(key) for key in asked]))
    if not others and len(new) == len(tasks):
        return new
    lost = [task_id for key, task_id in own.items() if key in others]
    if lost:  # 键在它的前任结束之后仍被占着
        await connection.execute(UNDO, sorted(lost))
    holders = {key: _Holder(task_id, new[task_id].state, new[task_id].run_at) for key, task_id in own.items()} | others
    found = {
        task.id: _duplicate(holders[key], key)
        for task in tasks
        if (key := keys[task.id]) in holders and holders[key].id != task.id
    }
    replaced = await _replace(connection, [task for task in tasks if task.id in found], keys, found)
    return {**new, **found, **replaced}


def _holders(rows: Iterable[Record]) -> dict[str, _Holder]:
    """先来的算数：活着的，其次是占到结束之后的，最后才是这一批刚插入的。"""
    ranked = sorted(rows, key=itemgetter("live"))
    return {row["key"]: _Holder(row["id"], row["state"], row["run_at"]) for row in ranked}


def _duplicate(holder: _Holder, key: str) -> Inserted:
    return Inserted(holder.state, holder.run_at, None, duplicate_of=holder.id, unique_key=key)


async def _hold(connection: Connection, tasks: Sequence[NewTask], keys: Mapping[UUID, str]) -> None:
    held = [(keys[task.id], task.id, task.unique.period_s) for task in tasks if task.unique and task.unique.period_s]
    if held:
        periods = [timedelta(seconds=period) for *_, period in held]
        await connection.execute(HOLD, [key for key, *_ in held], [task_id for _, task_id, _ in held], periods)


async def _replace(
    connection: Connection, tasks: Sequence[NewTask], keys: Mapping[UUID, str], found: Mapping[UUID, Inserted]
) -> dict[UUID, Inserted]:
    """同一批里有几个要换同一个任务，后来的算数。"""
    wanted = [task for task in tasks if task.unique is not None and task.unique.on_duplicate == "replace"]
    if not wanted:
        return {}
    last = sorted({keys[task.id]: task for task in wanted}.items(), key=lambda item: str(found[item[1].id].duplicate_of))
    rows = await connection.fetch(
        REPLACE,
        [found[task.id].duplicate_of for _, task in last],
        [key for key, _ in last],
        [task.kind for _, task in last],
        [task.kind_version for _, task in last],
        [task.args for _, task in last],
        sparse([task.run_at for _, task in last], None),
        sparse([timedelta(seconds=task.delay_s) if task.delay_s else None for _, task in last], None),
    )
    changed = {row["id"]: row for row in rows}
    return {
        task.id: Inserted(row["state"], row["run_at"], None, row["id"], replaced=True, unique_key=keys[task.id])
        for task in wanted
        if (row := changed.get(found[task.id].duplicate_of)) is not None
    }
