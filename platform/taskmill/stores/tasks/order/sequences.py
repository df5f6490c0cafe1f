"""Sequences: whose number comes next, and whose turn it is.

Two rows for each sequence, so that a submit in somebody's long transaction holds up nobody who works. `sequences` is locked
by a submit until its commit: numbers are in the order of commits. `sequence_turns` names the live task that has its turn; it
is locked by the short transactions that pass the turn on, and gone when nobody has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from taskmill.models.task import SEQUENCED
from taskmill.stores import constants as c
from taskmill.stores.database import LOCKED_OUT, Connection, Queryable
from taskmill.stores.tasks.submit import NewTask
from taskmill.stores.tasks.unique import BOUND, KeyHeldError

_NOW_US = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
# 号码从时钟的微秒起算：清掉了的序列再来，号码也只会更大，重试回来的旧任务仍在前面
DRAW = f"""
insert into taskmill.sequences as s (key, last_no, fresh)
select k, {_NOW_US} + $2, true from unnest($1::text[]) k order by 1
on conflict (key) do update set last_no = greatest(s.last_no, excluded.last_no - $2) + $2, fresh = true
returning key, last_no
"""
# 锁住或建好：别人正删着的，等他删完再建
TAKE = """
insert into taskmill.sequence_turns as s (key) select k from unnest($1::text[]) k order by 1
on conflict (key) do update set head = s.head
returning key
"""
# 轮到的结束了的那些序列：不是轮到的结束了，什么也没有空出来
HEADED = """
select key from taskmill.sequence_turns where key = any ($1::text[]) and head = any ($2::uuid[]) order by key for update
"""
# 锁着 sequence_turns 的行才问：没有人轮到的，下一个是号码最小的
NEXT = f"""
select s.key, n.id, n.sequence_no
from taskmill.sequence_turns s left join lateral (
  select t.id, t.sequence_no from taskmill.tasks t where t.sequence_key = s.key and t.{SEQUENCED}
  order by t.sequence_no limit 1) n on true
where s.key = any ($1::text[]) and not exists (select from taskmill.tasks h where h.id = s.head offset 0)
order by s.key
"""
# 锁住下一个，随后的语句才看得到别人对它做了什么；别人锁着的不等：那也许是个很久的事务
LOCK = "select t.id from taskmill.tasks t where t.id = any ($1::uuid[]) order by t.id for update skip locked"
# 前面有失败而要后面的等着的，不传
HAND_ON = """
update taskmill.sequence_turns s set head = u.id
from unnest($1::text[], $2::uuid[], $3::bigint[]) as u(key, id, no)
where s.key = u.key and not exists (select from taskmill.sequence_stops x where x.key = u.key and x.no < u.no)
returning s.key, s.head
"""
# 下一个正被别人锁着，或刚没了：过一会儿再看
PUT_OFF = "update taskmill.sequence_turns set head = null where key = any ($1::text[])"
WAITING = "select key from taskmill.sequence_turns where head is null order by key limit $1"
DROP = "delete from taskmill.sequence_turns where key = any ($1::text[])"
STOP = """
insert into taskmill.sequence_stops (task_id, key, no)
select * from unnest($1::uuid[], $2::text[], $3::bigint[]) on conflict do nothing
"""
GO_ON = "delete from taskmill.sequence_stops where task_id = $1 returning key"
FRESH = "select key, last_no from taskmill.sequences where fresh and key > $1 order by key limit $2"
# 又有新来的，或正有人提交的，留着：看过的人才知道看到哪里
SEEN = """
with free as materialized (
  select s.key from unnest($1::text[], $2::bigint[]) as u(key, no) join taskmill.sequences s on s.key = u.key
  where s.fresh and s.last_no = u.no order by s.key for update of s skip locked
)
update taskmill.sequences s set fresh = false from free where s.key = free.key
"""
# 旧程序结束了轮到的任务，不会传给下一个；一次看一段
LOST = f"""
with part as materialized (select key from taskmill.sequences where key > $1 order by key limit $2)
select s.key, exists (select from taskmill.tasks t where t.sequence_key = s.key and t.{SEQUENCED} offset 0)
   and not exists (
     select from taskmill.sequence_turns r where r.key = s.key and exists (select from taskmill.tasks h where h.id = r.head offset 0)
   ) as lost
from part s order by s.key
"""
# 重试的任务回来时，它的序列也许已清掉
KNOWN = """
insert into taskmill.sequences (key, last_no, fresh)
select $1, 0, false where not exists (select from taskmill.sequences where key = $1) on conflict do nothing
"""
PRUNE = f"""
with old as materialized (
  select s.key from taskmill.sequences s
  where s.last_no < {_NOW_US} - {c.SEQUENCE_KEEP_US}
    and not exists (select from taskmill.tasks t where t.sequence_key = s.key and t.{SEQUENCED})
    and not exists (select from taskmill.sequence_turns r where r.key = s.key)
  limit $1 for update of s skip locked
)
delete from taskmill.sequences s using old where s.key = old.key returning s.key
"""
STOPPED = """
select s.key, s.task_id, s.at, (
  select count(*) from taskmill.tasks t where t.sequence_key = s.key and t.sequence_no > s.no) as waiting
from taskmill.sequence_stops s order by s.at limit $1
"""


async def draw(connection: Connection, tasks: Sequence[NewTask], wait_ms: int) -> None:
    """Give the tasks their numbers, in order; their sequences are the transaction's until it ends.

    KeyHeldError if another transaction submits to one and does not end in `wait_ms`; the transaction is lost then.
    """
    wanted = [(task.order.sequence_key, task.order) for task in tasks if task.order and task.order.sequence_key is not None]
    if not wanted:
        return
    counts = Counter(key for key, _ in wanted)
    before = await connection.fetchval(BOUND, str(wait_ms))
    try:
        rows = await connection.fetch(DRAW, sorted(counts), max(counts.values()))
    except LOCKED_OUT as error:
        raise KeyHeldError(sequence=True) from error
    await connection.fetchval(BOUND, before)
    numbers = {row["key"]: row["last_no"] - counts[row["key"]] for row in rows}
    for key, order in wanted:
        numbers[key] += 1
        order.sequence_no = numbers[key]


async def drawn(connection: Queryable, key: str) -> int | None:
    """Return the last number that was drawn and committed, None if there is none."""
    return await connection.fetchval("select last_no from taskmill.sequences where key = $1", key)


async def advance(connection: Connection, keys: Iterable[str]) -> list[UUID]:
    """Let somebody have the turn in those of the sequences where nobody has; returns who. Needs a transaction."""
    wanted = sorted(set(keys))
    if not wanted:
        return []
    await connection.fetch(TAKE, wanted)
    return await _pass_on(connection, wanted)


async def pass_on(connection: Connection, keys: Collection[str], ended: Collection[UUID]) -> list[UUID]:
    """Pass on the turns that these tasks had, which the transaction has ended; returns who has them now."""
    rows = await connection.fetch(HEADED, sorted(set(keys)), sorted(ended))
    return await _pass_on(connection, [row["key"] for row in rows]) if rows else []


async def _pass_on(connection: Connection, keys: Sequence[str]) -> list[UUID]:
    rows = await connection.fetch(NEXT, keys)
    wanted = [(row["key"], row["id"], row["sequence_no"]) for row in rows if row["id"] is not None]
    free = {row["id"] for row in await connection.fetch(LOCK, sorted(each[1] for each in wanted))} if wanted else set()
    found = [each for each in wanted if each[1] in free]
    if late := [each[0] for each in wanted if each[1] not in free]:
        await connection.execute(PUT_OFF, late)
    passed = (
        {row["key"]: row["head"] for row in await connection.fetch(HAND_ON, *map(list, zip(*found, strict=True)))}
        if found
        else {}
    )
    if over := [row["key"] for row in rows if row["key"] not in passed and row["key"] not in late]:
        await connection.execute(DROP, over)
    return list(passed.values())


async def stop(connection: Connection, failed: Sequence[tuple[UUID, str, int]]) -> None:
    """Let nobody behind these failed tasks (id, key, number) have a turn."""
    if failed:
        await connection.execute(STOP, *map(list, zip(*sorted(failed), strict=True)))


async def go_on(connection: Connection, task_id: UUID) -> str | None:
    """Let the sequence go on that this task stops; returns its key, None if it stops none."""
    return await connection.fetchval(GO_ON, task_id)


async def known(connection: Connection, key: str) -> None:
    """Have the sequence looked after again that a retried task belongs to."""
    await connection.execute(KNOWN, key)


async def fresh(connection: Queryable, after: str, most: int) -> dict[str, int]:
    """Return the next sequences to which something new was submitted, with the last number."""
    return {row["key"]: row["last_no"] for row in await connection.fetch(FRESH, after, most)}


async def waiting(connection: Queryable, most: int) -> list[str]:
    """Return sequences whose next task was locked by somebody when its turn came."""
    return [row["key"] for row in await connection.fetch(WAITING, most)]


async def seen(connection: Queryable, last: Mapping[str, int]) -> None:
    """Note that these sequences were looked at up to these numbers."""
    if last:
        keys = sorted(last)
        await connection.execute(SEEN, keys, [last[key] for key in keys])


async def lost(connection: Queryable, after: str, most: int) -> tuple[list[str], str]:
    """Return those of the next sequences where tasks wait and nobody has the turn, and where to go on; '' at the end."""
    rows = await connection.fetch(LOST, after, most)
    return [row["key"] for row in rows if row["lost"]], rows[-1]["key"] if len(rows) == most else ""


async def prune(connection: Queryable, most: int) -> int:
    """Remove sequences that are empty; returns how many."""
    return len(await connection.fetch(PRUNE, most, timeout=c.LONG_COMMAND_TIMEOUT_S))


async def stopped(connection: Queryable, most: int) -> list[tuple[str, UUID, int]]:
    """Return (key, failed task, how many wait) of the sequences that are stopped, the longest first."""
    return [(row["key"], row["task_id"], row["waiting"]) for row in await connection.fetch(STOPPED, most)]
