"""Turns of fairness keys: in one queue and priority each key has one task started, then the next key has.

A task with a fairness key waits for its turn in `slot` 3. Of each queue and priority only a window of them has slot 2, and
a ticket, at a time: the rest is chosen when workers have claimed some, one task of each key in turn, in the circle of keys
behind the one that was served last (`fairness_turns`). In a queue with limits this is the line at the queue: what has its
place within its key's limit waits here, and tasks without a fairness key take turns as one more key, "".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from taskmill import constants as c
from taskmill.models.task import FAIR, FAIR_PLACE, SLOTTED, SLOTTED_KEY
from taskmill.models.task_queue import KEYED
from taskmill.stores import constants as sc
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.database import Connection, Queryable, Record
from taskmill.stores.tasks.history import NOW_MS
from taskmill.stores.tasks.rates import Place

FREE: Final = 2
IN_TURN: Final = 3
KEYLESS: Final = ""  # 有上限的队列里，没有公平键的一起算一个键

HELD: Final = f"{FAIR} and {FAIR_PLACE} = {IN_TURN}"
GIVEN: Final = f"{FAIR} and {FAIR_PLACE} = {FREE}"
# 各道放行了而没有开始的；窗口满了就不再数
COUNT = f"""
select u.queue, u.priority, (select count(*) from (
  select from taskmill.tasks t where {GIVEN} and t.queue = u.queue and t.priority = u.priority limit $3) g) as n
from unnest($1::text[], $2::smallint[]) as u(queue, priority)
"""
SERVED = """
insert into taskmill.fairness_turns as f (queue, priority, key) values ($1, $2, $3)
on conflict (queue, priority) do update set key = excluded.key
"""
LAST = "select key from taskmill.fairness_turns where queue = $1 and priority = $2"


def _keys(after: str, more: str = "") -> str:
    """沿索引跳着走一圈，从上次轮到的键之后开始，至多 $4 个键；游标惰性，够了就不再往下跳。"""
    step = f"""select fairness_key as key{{n}} from taskmill.tasks
      where {HELD} and queue = $1 and priority = $2 and {{where}} order by fairness_key limit 1"""
    return f"""
with recursive later as (
  ({step.format(n=", 1 as n", where=f"fairness_key > {after}")})
  union all
  select x.key, l.n + 1 from later l cross join lateral (
    {step.format(n="", where="fairness_key > l.key")}) x
  where l.n < $4
), earlier as (
  ({step.format(n=", 1 as n", where=f"fairness_key <= {after}")})
  union all
  select x.key, l.n + 1 from earlier l cross join lateral (
    {step.format(n="", where=f"fairness_key > l.key and fairness_key <= {after}")}) x
  where l.n < $4
), circle as materialized (
  select key, row_number() over () as place from (
    select key from later {more} union all select key from earlier limit $4) k
), quota as materialized (
  select greatest(1, $4 / greatest(count(*), 1)) as n from circle
)"""


_OF_KEY = f"""(select t.id, t.concurrency_key as slots_of from taskmill.tasks t
     where {HELD} and t.queue = $1 and t.priority = $2 and t.fairness_key between k.key and k.key
     order by t.fairness_key, t.id limit (select q.n from quota q) for update skip locked)"""
_KEYLESS_FIRST = f"""(select t.id, t.concurrency_key as slots_of from taskmill.tasks t
     where t.queue = $1 and t.slot = 1 and t.priority = $2 and {SLOTTED}
     order by t.id limit (select q.n from quota q) for update skip locked)"""
_RETURNED = """t.queue, t.concurrency_key, t.priority, t.id, t.claim_no, t.slot,
          (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms"""
# 转移不变，只是前进一步。一轮里每个键一样多：键的个数除 $4，除不尽的下一轮；别人锁着的下次再说
TAKE = f"""{_keys("$3")}, next as materialized (
  select n.id, k.key, k.place, row_number() over (partition by k.place order by n.id) as turn
  from circle k cross join lateral {_OF_KEY} n
)
update taskmill.tasks t set slot = {FREE}, ticket_at = {NOW_MS}, updated_at = now()
from next where t.id = any (array[next.id]) and t.slot is not distinct from {IN_TURN}
returning {_RETURNED}, next.key, next.place, next.turn
"""
# 有上限的队列：没有公平键的也轮到（$5：按键的上限）。没有按键排过队的（排在这里之后，才有了按键的上限）退回去，不算放行
TAKE_LIMITED = f"""{
    _keys(
        "$3",
        f'''union all select '{KEYLESS}' where exists (
      select from taskmill.tasks where queue = $1 and slot = 1 and priority = $2 and {SLOTTED})''',
    )
}, of_keys as materialized (
  select n.id, n.slots_of, k.key, k.place from circle k cross join lateral {_OF_KEY} n
), keyless as materialized (
  select n.id, n.slots_of, k.key, k.place from circle k cross join lateral {_KEYLESS_FIRST} n where k.key = '{KEYLESS}'
), next as (
  select b.*, row_number() over (partition by b.place order by b.id) as turn
  from (select * from of_keys union all select * from keyless) b
), fits as (
  select n.*, $5::int is null or n.slots_of is null
    or $5 >= row_number() over (partition by n.slots_of order by n.turn, n.place) + (
      select count(*) from taskmill.tasks x where x.queue = $1 and x.concurrency_key = n.slots_of and x.slot = 2 and {
    SLOTTED_KEY
}) as ok
  from next n
)
update taskmill.tasks t set slot = case when f.ok then 2 else 0 end, ticket_at = case when f.ok then {
    NOW_MS
} end, updated_at = now()
from fits f where t.id = any (array[f.id]) and coalesce(t.slot, -1) in (1, {IN_TURN})
returning {_RETURNED}, f.key, f.place, f.turn
"""
# 到期的、重试的、从别的队列来的：排进去，才轮得到
LINE_UP = f"""
with next as materialized (
  select t.id, t.queue, t.concurrency_key from taskmill.tasks t
  where {FAIR} and {FAIR_PLACE} = -1 order by t.queue, t.priority, t.fairness_key, t.id limit $1 for update skip locked
)
update taskmill.tasks t set ticket_at = null,
    slot = case when next.concurrency_key is not null and (select {KEYED} from taskmill.queues q where q.name = next.queue)
           then 0 else {IN_TURN} end
from next where t.id = any (array[next.id]) and t.slot is null
returning t.queue, t.concurrency_key, t.slot
"""
# 有等轮到的道，一次一段：$1、$2 是上一段的末尾。没有地方可去的不提，那是常态；段的末尾总是提到
WAITING = f"""
with recursive held as (
  (select queue, priority, 1 as n from taskmill.tasks
   where {HELD} and (queue, priority) > ($1, $2) order by queue, priority limit 1)
  union all
  select x.queue, x.priority, h.n + 1 from held h cross join lateral (
    select queue, priority from taskmill.tasks
    where {HELD} and (queue, priority) > (h.queue, h.priority) order by queue, priority limit 1) x
  where h.n < $3
)
select h.queue, h.priority, h.n = $3 as last from held h join taskmill.queues q on q.name = h.queue
where h.n = $3 or q.paused_at is null
  and (q.max_running is null or q.max_running > (select count(*) from taskmill.tasks t where t.queue = h.queue and t.slot = 2))
  and $4::int >= (select count(*) from (
    select from taskmill.tasks t where {GIVEN} and t.queue = h.queue and t.priority = h.priority limit $4::int + 1) g)
"""

# 队列被删掉的同时有人往里提交：没有那一行，没有人锁得住它，也就轮不到
QUEUES = f"""
with recursive named as (
  (select queue from taskmill.tasks where {HELD} order by queue limit 1)
  union all
  select x.queue from named n cross join lateral (
    select queue from taskmill.tasks where {HELD} and queue > n.queue order by queue limit 1) x
)
insert into taskmill.queues (name)
select n.queue from named n where not exists (select from taskmill.queues q where q.name = n.queue) order by n.queue
on conflict do nothing returning name
"""


@dataclass(frozen=True, slots=True)
class Window:
    """How many tasks of a queue and priority have a ticket and have not started: at most `most`; filled up from `low` on."""

    most: int

    @property
    def low(self) -> int:
        """Return the count above which nobody fills up: one transaction for many claims."""
        return self.most - self.most // 4


class Turns:
    """The turns that one transaction gives: what each lane in which keys wait has `given` before, and the tasks taken."""

    def __init__(self, window: Window, given: Mapping[Lane, int]) -> None:
        self._window, self._given = window, dict(given)
        self.taken: list[Record] = []

    def has(self, queue: str) -> bool:
        """Say whether keys wait for their turn in this queue."""
        return any(lane[0] == queue for lane in self._given)

    async def fill(self, connection: Connection, queue: str) -> None:
        """Fill up the windows of a queue without limits that have become low."""
        for lane, given in self._given.items():
            if lane[0] == queue and given <= self._window.low:
                self.taken += await take(connection, lane, self._window.most - given)

    async def share(self, connection: Connection, queue: str, room: int, per_key: int | None) -> None:
        """Share out the room of a queue with limits: the highest priority first, in each in turn, no more than its window has."""
        for priority in c.PRIORITIES:
            lane = (queue, priority)
            wanted = min(room, self._window.most - self._given.get(lane, 0))
            if wanted <= 0:
                return
            rows = await take(connection, lane, wanted, limited=True, per_key=per_key)
            self.taken += rows
            given = sum(row["slot"] == FREE for row in rows)
            room -= given
            if room <= 0 or given == wanted:  # 窗口满了：更低的优先级不能先得空位
                return


async def counts(connection: Queryable, lanes: Sequence[Lane], window: Window) -> dict[Lane, int]:
    """Return how many tasks of each lane have a ticket and have not started; no more than the window has are counted."""
    if not lanes:
        return {}
    rows = await connection.fetch(COUNT, [queue for queue, _ in lanes], [priority for _, priority in lanes], window.most)
    return {(row["queue"], row["priority"]): row["n"] for row in rows}


async def take(
    connection: Connection, lane: Lane, most: int, *, limited: bool = False, per_key: int | None = None
) -> list[Record]:
    """Give the next `most` tasks of a lane their turn, in the order in which it comes to them; the caller has the queue's lock.

    `limited`: tasks without a fairness key take part, and `per_key` is the queue's limit of keys. Those that it does not let
    through go back to their key's line, and are in the list, too, with `slot` 0.
    """
    after: Any = await connection.fetchval(LAST, *lane)
    taken: list[Record] = []
    given, served = 0, None
    for _ in range(sc.TURN_ROUNDS):
        wanted = most - given
        arguments = (*lane, after or KEYLESS, wanted)
        rows = (
            await connection.fetch(TAKE_LIMITED, *arguments, per_key)
            if limited
            else await connection.fetch(TAKE, *arguments)
        )
        rows.sort(key=itemgetter("turn", "place"))
        taken += rows
        given += sum(row["slot"] == FREE for row in rows)
        if rows:
            after = served = rows[-1]["key"]
        if given >= most or _exhausted(rows, wanted):
            break
    if served is not None:
        await connection.execute(SERVED, *lane, served)
    return taken


def _exhausted(rows: Sequence[Record], wanted: int) -> bool:
    """每个键给的都比能给的少：都给完了。"""
    of_key = Counter(row["key"] for row in rows)
    return not rows or max(of_key.values()) < max(1, wanted // len(of_key))


async def line_up(connection: Queryable, most: int) -> Counter[Place]:
    """Line up at most `most` tasks with a fairness key that have become available; returns how many where."""
    rows = await connection.fetch(LINE_UP, most)
    return Counter((row["queue"], row["concurrency_key"] if row["slot"] == 0 else None) for row in rows)


async def waiting(connection: Queryable, after: Lane, most: int, window: Window) -> tuple[set[str], Lane | None]:
    """Look at the next `most` lanes in which keys wait; returns the queues of those with room, and where to go on, None at the end."""
    rows = await connection.fetch(WAITING, *after, most, window.low)
    last = next(((row["queue"], row["priority"]) for row in rows if row["last"]), None)
    return {row["queue"] for row in rows}, last


async def make_queues(connection: Queryable) -> list[str]:
    """Make the queues in which keys wait for their turn and which somebody deleted in the moment of a submit; returns them."""
    return [row["name"] for row in await connection.fetch(QUEUES)]
