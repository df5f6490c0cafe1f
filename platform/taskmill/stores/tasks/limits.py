"""Limits of queues: which held task may run next.

The slots are the rows themselves. In a queue with limits `slot` of an available task says how far it is: 0, its key is at
its limit (`max_running_per_key`); 1, the queue is (`max_running`, `rate`); 3, it waits for the turn of its fairness key (`turns`);
2, it may run, and does so until it leaves `running`. A slot is given back by whatever ends or delays the task, since the row goes or its `slot` becomes null: none can
leak. Slots are given under a lock on the row of the queue, so that two who count never give the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import msgspec

from taskmill import constants as c
from taskmill.controls.rate import Rate
from taskmill.models.task import FAIR, FAIR_PLACE, FAIR_SLOT, FAIR_STATE, SLOTTED, SLOTTED_KEY, TICKETLESS
from taskmill.models.task_queue import KEYED
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import Ticket
from taskmill.stores.database import Connection, Queryable, Record
from taskmill.stores.tasks import rates
from taskmill.stores.tasks.history import NOW_MS
from taskmill.stores.tasks.rates import Level, Place
from taskmill.stores.tasks.turns import FREE, GIVEN, IN_TURN, Turns, Window, counts
from taskmill.stores.tasks.turns import HELD as WAITS

HELD_BY_KEY: Final = 0
HELD_BY_QUEUE: Final = 1

LIMITED = f"""
select name, limited, {KEYED} as keyed, max_backlog
from taskmill.queues where limited or max_backlog is not null
"""
_LIMITS = "q.name, q.limited, q.max_running, q.max_running_per_key, q.rate, q.rate_per_key"
OF = f"select {_LIMITS} from taskmill.queues q where q.name = $1"
# 暂停的队列不放行，恢复之后再来。在此之后才数：前一个放行的人提交了什么，下一条语句都看得到
# 没有上限的队列，只有等着轮到公平键、窗口也有地方的才锁；$2、$3：窗口多大，少到多少才补。
# limit 1 不能换成 exists：半连接会把等着的全走一遍
LOCK = f"""
select {_LIMITS}, f.priorities
from taskmill.queues q cross join lateral (
  select array_agg(p) as priorities, min(g.n) as least from generate_series(1, {max(c.PRIORITIES)}) p
  cross join lateral (
    select from taskmill.tasks t where {WAITS} and t.queue = q.name and t.priority = p limit 1) waits
  cross join lateral (
    select count(*) as n from (
      select from taskmill.tasks t where {GIVEN} and t.queue = q.name and t.priority = p limit $2) w) g) f
where q.name = any ($1::text[]) and q.paused_at is null and (q.limited or f.least <= $3)
order by q.name for no key update of q
"""
_STEPPED = "returning t.queue, t.concurrency_key, t.priority, t.id, t.claim_no, t.slot, (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms"
# 数一个键占着的写成 slot > 0：写成 >= 1，优化器就可能改走 tasks_slots，把整个队列的都数一遍。
# 转移不变，只是前进一步：键还有空位与令牌的，按优先级与先后；队列自己没有上限（open）的，一步走到底
BY_KEY = f"""
with room as materialized (
  select u.queue, u.key, u.open, least(u.starts, u.most - (
    select count(*) from taskmill.tasks t where t.queue = u.queue and t.concurrency_key = u.key and t.slot > 0 and {SLOTTED_KEY})) as n
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bool[]) as u(queue, key, most, starts, open)
), next as materialized (
  select n.id, r.open from room r cross join lateral (
    select t.id from taskmill.tasks t where t.queue = r.queue and t.concurrency_key = r.key and t.slot = 0 and {SLOTTED_KEY}
    order by t.priority, t.id limit greatest(r.n, 0) for update skip locked) n
)
update taskmill.tasks t
set slot = case when t.fairness_key is not null then {IN_TURN} when next.open then {FREE} else {HELD_BY_QUEUE} end,
    ticket_at = case when next.open and t.fairness_key is null then {NOW_MS} end, updated_at = now()
from next where t.id = any (array[next.id]) and t.slot = 0
{_STEPPED}
"""
COUNTS = """
select u.queue, (select count(*) from taskmill.tasks t where t.queue = u.queue and t.slot = 2) as taken
from unnest($1::text[]) as u(queue)
"""
# 外层写成 t.slot = 1，统计过时的时候会从 tasks_slots 把挡着的全走一遍，而不是按 id 找选中的几行。
# 没有按键排过队的（排在队列这里之后，才有了按键的上限）退回去，不算放行
BY_QUEUE = f"""
with next as materialized (
  select n.id, n.concurrency_key as key, u.queue, u.per_key
  from unnest($1::text[], $2::int[], $3::int[]) as u(queue, room, per_key) cross join lateral (
    select t.id, t.concurrency_key from taskmill.tasks t where t.queue = u.queue and t.slot = 1 and {SLOTTED}
    order by t.priority, t.id limit u.room for update skip locked) n
), fits as (
  select n.id, n.per_key is null or n.key is null or n.per_key >= row_number() over (partition by n.queue, n.key order by n.id) + (
    select count(*) from taskmill.tasks x where x.queue = n.queue and x.concurrency_key = n.key and x.slot = 2 and {SLOTTED_KEY}) as ok
  from next n
)
update taskmill.tasks t
set slot = case when f.ok then {FREE} else {HELD_BY_KEY} end, ticket_at = case when f.ok then {NOW_MS} end, updated_at = now()
from fits f where t.id = any (array[f.id]) and t.slot is not distinct from {HELD_BY_QUEUE}
{_STEPPED}
"""
# 队列刚有了上限，或任务从别的状态回来：排进去，才轮得到
ENROL = f"""
with next as materialized (
  select n.id, case when {KEYED} and n.concurrency_key is not null then 0 else 1 end as slot
  from taskmill.queues q cross join lateral (
    select t.id, t.concurrency_key from taskmill.tasks t
    where {TICKETLESS} and t.queue = q.name and coalesce(t.slot, -1) = -1 and t.fairness_key is null
    order by t.priority, t.id limit $1 for update skip locked) n
  where q.limited
)
update taskmill.tasks t set slot = next.slot from next where t.id = any (array[next.id]) and t.slot is null
returning t.queue, t.concurrency_key, t.slot
"""
# 闲的时候一轮只问这一句：有没有排着的、有上限的队列、没有开始的公平键任务
LOOK = f"""
select exists (select from taskmill.tasks where {SLOTTED} order by queue limit 1)
    or exists (select from taskmill.tasks where {SLOTTED_KEY} order by queue limit 1) as lined,
       exists (select from taskmill.queues where limited) as limited,
       exists (select from taskmill.tasks where {FAIR} order by {FAIR_STATE}, {FAIR_SLOT} limit 1) as fair,
       exists (select from taskmill.tasks where {FAIR} and {FAIR_PLACE} = -1 limit 1) as unlined
"""
# 上限取消了：挡着的都放开，票由 stager 补
RELEASE = f"""
with recursive by_key as (
  (select queue from taskmill.tasks where {SLOTTED_KEY} order by queue limit 1)
  union all
  select n.queue from by_key h cross join lateral (
    select queue from taskmill.tasks where {SLOTTED_KEY} and queue > h.queue order by queue limit 1) n
), by_queue as (
  (select queue from taskmill.tasks where {SLOTTED} order by queue limit 1)
  union all
  select n.queue from by_queue h cross join lateral (
    select queue from taskmill.tasks where {SLOTTED} and queue > h.queue order by queue limit 1) n
), next as materialized (
  (select n.id from by_key s cross join lateral (
    select t.id from taskmill.tasks t where t.queue = s.queue and t.slot = 0 and {SLOTTED_KEY}
    limit $1 for update skip locked) n
   where not exists (select from taskmill.queues q where q.name = s.queue and q.limited))
  union all
  (select n.id from by_queue s cross join lateral (
    select t.id from taskmill.tasks t where t.queue = s.queue and t.slot = 1 and {SLOTTED} limit $1 for update skip locked) n
   where not exists (select from taskmill.queues q where q.name = s.queue and q.limited))
)
update taskmill.tasks t set slot = case when t.fairness_key is not null then {IN_TURN} end
from next where t.id = any (array[next.id]) and t.slot in (0, 1) returning t.queue
"""
# 沿索引跳着找被挡的键，一次一段：$1、$2 是上一段的末尾。键已占满的不提，那是常态；段的末尾总是提到，也说它有没有空位
KEYS = f"""
with recursive held as (
  (select queue, concurrency_key, 1 as n from taskmill.tasks
   where slot = 0 and {SLOTTED_KEY} and (queue, concurrency_key) > ($1, $2)
   order by queue, concurrency_key limit 1)
  union all
  select x.queue, x.concurrency_key, h.n + 1 from held h cross join lateral (
    select queue, concurrency_key from taskmill.tasks
    where slot = 0 and {SLOTTED_KEY} and (queue, concurrency_key) > (h.queue, h.concurrency_key)
    order by queue, concurrency_key limit 1) x
  where h.n < $3
)
select h.queue, h.concurrency_key, h.n = $3 as last, r.room
from held h left join taskmill.queues q on q.name = h.queue
cross join lateral (
  select q.max_running_per_key is null or q.max_running_per_key > (
    select count(*) from taskmill.tasks t
    where t.queue = h.queue and t.concurrency_key = h.concurrency_key and t.slot > 0 and {SLOTTED_KEY}) as room) r
where h.n = $3 or r.room
"""
# 排在队列这里的；占满了的不提
QUEUES = """
with recursive held as (
  (select queue from taskmill.tasks where slot = 1 order by queue limit 1)
  union all
  select x.queue from held h cross join lateral (
    select queue from taskmill.tasks where slot = 1 and queue > h.queue order by queue limit 1) x
)
select h.queue from held h join taskmill.queues q on q.name = h.queue
where q.max_running is null or q.max_running > (select count(*) from taskmill.tasks t where t.queue = h.queue and t.slot = 2)
"""


# 有上限之前就在跑的，也占着空位
ADOPT = """
update taskmill.tasks t set slot = 2
from taskmill.queues q where q.name = t.queue and q.limited and t.state = 'running' and t.slot is null
returning t.queue
"""
# 一轮一问：放开、认下、排进去，再说哪里也许有空位。各看各的行，谁先谁后都一样：多提的，放行时在锁下再数。
# $1：各写至多几行；$2：至多看几个桶
ROUND = f"""
with released as ({RELEASE}), adopted as ({ADOPT}), enrolled as ({ENROL})
select 'released' as what, queue, null::text as key from released
union all select 'enrolled', queue, case when slot = {HELD_BY_KEY} then concurrency_key end from enrolled
union all select 'room', queue, key from ({rates.CHANGED}) c
union all select 'room', queue, null from ({QUEUES}) h
"""


@dataclass(frozen=True, slots=True)
class Mended:
    """What a look at all queues found: tasks let go since their queue has no limits any more, and lined up, how many where.

    `room`: queues with room in which tasks wait for the queue's own limits, and places whose bucket is to be looked at, since
    tasks that had a slot have started or gone.
    """

    released: int
    enrolled: Counter[Place]
    room: set[Place]


@dataclass(frozen=True, slots=True)
class Sort:
    """What a submit has to know of a queue: whether its tasks line up, also by key, and how many may wait."""

    limited: bool
    keyed: bool
    max_backlog: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a queue, None where there is none; it may have none at all, and keys that take turns."""

    queue: str
    max_running: int | None
    max_running_per_key: int | None
    rate: Rate | None
    rate_per_key: Rate | None
    limited: bool = True

    @property
    def open(self) -> bool:
        """Say whether the queue itself holds nobody, only keys do."""
        return self.max_running is None and self.rate is None

    def at(self, slot: int) -> tuple[int | None, Rate | None]:
        """Return what holds a task that has come to `slot`: how many may have the next one, and how many start in a time."""
        return (self.max_running_per_key, self.rate_per_key) if slot == HELD_BY_KEY else (self.max_running, self.rate)


@dataclass(frozen=True, slots=True)
class Given:
    """What a round gave: tickets to be sent after the commit, and for each queue whose bucket is empty when it has a token, in s."""

    tickets: Mapping[Lane, list[Ticket]]
    refill_s: Mapping[str, float]


async def limited(connection: Queryable) -> dict[str, Sort]:
    """Return the queues that have some limit."""
    return {row["name"]: Sort(row["limited"], row["keyed"], row["max_backlog"]) for row in await connection.fetch(LIMITED)}


async def of(connection: Queryable, queue: str) -> Limits | None:
    """Return the limits of a queue, None if it is unknown."""
    row = await connection.fetchrow(OF, queue)
    return None if row is None else _limits(row)


async def give(connection: Connection, places: Iterable[Place], most: int, window: Window) -> Given:
    """Give the free slots of the queues and keys of `places` to their next tasks, at most `most` a queue, in a transaction.

    Tasks with a fairness key get theirs in turn, as far as the `window` of their queue and priority has room.
    """
    await connection.execute("set local synchronous_commit = off")  # 丢了也无妨：没有空位的票领不到任务，下一轮再放行
    wanted = sorted(places, key=lambda place: (place[0], place[1] or ""))
    found, lanes = await _lock(connection, sorted({queue for queue, _ in wanted}), window)
    keyed = [(found[queue], key) for queue, key in wanted if key is not None and queue in found and found[queue].limited]
    stepped, by_key_s = await _by_key(connection, keyed, most) if keyed else ([], {})
    lanes |= {(row["queue"], row["priority"]) for row in stepped if row["slot"] == IN_TURN}
    turns = Turns(window, await counts(connection, sorted(lanes), window))
    gone, by_queue_s = await _by_queue(connection, [each for each in found.values() if each.limited], most, turns)
    for queue, each in found.items():
        if not each.limited:
            await turns.fill(connection, queue)
    made = _tickets([*sorted((*stepped, *gone), key=itemgetter("id")), *turns.taken])
    return Given(made, _soonest(by_key_s, by_queue_s))


async def _lock(connection: Connection, queues: Sequence[str], window: Window) -> tuple[dict[str, Limits], set[Lane]]:
    """锁住队列；也返回有公平键等着轮到的道。"""
    found, lanes = dict[str, Limits](), set[Lane]()
    for row in await connection.fetch(LOCK, queues, window.most, window.low):
        found[row["name"]] = _limits(row)
        lanes |= {(row["name"], priority) for priority in row["priorities"] or ()}
    return found, lanes


def _limits(row: Record) -> Limits:
    most = row["max_running"], row["max_running_per_key"]
    return Limits(row["name"], *most, _rate(row["rate"]), _rate(row["rate_per_key"]), row["limited"])


def _rate(raw: bytes | None) -> Rate | None:
    return None if raw is None else msgspec.json.decode(raw, type=Rate)


async def _by_key(
    connection: Connection, keyed: Sequence[tuple[Limits, str]], most: int
) -> tuple[list[Record], dict[str, float]]:
    """键有空位、也有令牌的往前走一步；按键的上限取消了，挡着的都走。返回走了的，与每个队列最早什么时候又有键的令牌。"""
    rated: dict[Place, Rate] = {(each.queue, key): each.rate_per_key for each, key in keyed if each.rate_per_key is not None}
    levels = await rates.levels(connection, rated)
    starts = {place: level.starts(rated[place]) for place, level in levels.items()}
    rows = await connection.fetch(
        BY_KEY,
        [each.queue for each, _ in keyed],
        [key for _, key in keyed],
        [each.max_running_per_key or most for each, _ in keyed],
        [starts.get((each.queue, key), most) for each, key in keyed],
        [each.open for each, _ in keyed],
    )
    spent = Counter((row["queue"], row["concurrency_key"]) for row in rows)
    return rows, await _paid(connection, rated, levels, spent)


async def _by_queue(
    connection: Connection, queues: Sequence[Limits], most: int, turns: Turns
) -> tuple[list[Record], dict[str, float]]:
    counted = [each.queue for each in queues if each.max_running is not None]
    counts = {row["queue"]: row["taken"] for row in await connection.fetch(COUNTS, counted)} if counted else {}
    rated: dict[Place, Rate] = {(each.queue, None): each.rate for each in queues if each.rate is not None}
    levels = await rates.levels(connection, rated)
    rooms: list[tuple[str, int, int | None]] = []
    for each in queues:
        room = most if each.max_running is None else min(most, each.max_running - counts[each.queue])
        if each.rate is not None:
            room = min(room, levels[each.queue, None].starts(each.rate))
        if room > 0:
            rooms.append((each.queue, room, each.max_running_per_key))
    for queue, room, per_key in rooms:
        if turns.has(queue):
            await turns.share(connection, queue, room, per_key)
    plain = [room for room in rooms if not turns.has(room[0])]
    rows = await connection.fetch(BY_QUEUE, *map(list, zip(*plain, strict=True))) if plain else []
    spent: Counter[Place] = Counter((row["queue"], None) for row in (*rows, *turns.taken) if row["slot"] == FREE)
    return rows, await _paid(connection, rated, levels, spent)


def _tickets(rows: Iterable[Record]) -> dict[Lane, list[Ticket]]:
    tickets: dict[Lane, list[Ticket]] = {}
    for row in rows:
        if row["slot"] == FREE:
            tickets.setdefault((row["queue"], row["priority"]), []).append(Ticket(row["id"], row["claim_no"], row["at_ms"]))
    return tickets


async def _paid(
    connection: Connection, rated: Mapping[Place, Rate], levels: Mapping[Place, Level], spent: Mapping[Place, int]
) -> dict[str, float]:
    """扣掉用去的令牌；返回空了、又能再满的桶里，每个队列最早什么时候又有一个，以秒计。"""
    left = {place: (levels[place].spent(spent.get(place, 0), rate), rate) for place, rate in rated.items()}
    changed = {place: level for place, (level, _) in left.items() if level is not None}
    await rates.store(connection, changed)
    after = {place: changed.get(place, levels[place]) for place in rated}
    waits = (
        {q: (1 - level.tokens) / rated[q, k].per_s} for (q, k), level in after.items() if level.tokens < 1 <= level.ceiling
    )
    return _soonest(*waits)


def _soonest(*each: Mapping[str, float]) -> dict[str, float]:
    made: dict[str, float] = {}
    for queue, seconds in (item for found in each for item in found.items()):
        made[queue] = min(seconds, made.get(queue, seconds))
    return made


async def mend(connection: Queryable, most: int, buckets: int) -> Mended:
    """Do what nobody did at once, at most `most` tasks a queue, and look at `buckets` buckets; see Mended."""
    found: dict[str, Counter[Place]] = {"released": Counter(), "enrolled": Counter(), "room": Counter()}
    for row in await connection.fetch(ROUND, most, buckets):
        found[row["what"]][row["queue"], row["key"]] += 1
    return Mended(found["released"].total(), found["enrolled"], set(found["room"]))


async def held_keys(
    connection: Queryable, after: tuple[str, str], most: int
) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    """Look at the next `most` queues and keys with held tasks; returns those with room, and where to go on, None at the end."""
    rows = await connection.fetch(KEYS, *after, most)
    last = next(((row["queue"], row["concurrency_key"]) for row in rows if row["last"]), None)
    return [(row["queue"], row["concurrency_key"]) for row in rows if row["room"]], last
