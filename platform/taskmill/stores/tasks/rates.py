"""Token buckets of queues and of their keys, by PostgreSQL's clock.

A token is spent when a task gets its slot, which may be before it starts: what has a slot and has not started counts as
tokens in hand, and the bucket fills only to a burst less those (`ceiling`, as of the last look). So the two together are
never more than a burst, and in no time start more than a burst and what the bucket gained. Whoever starts some has it
looked at again. There is no bucket where it would be full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from taskmill.controls.rate import Rate
from taskmill.models.task import SLOTTED, SLOTTED_KEY
from taskmill.stores.database import Queryable

Place = tuple[str, str | None]  # 队列与键；键为 None：只问队列

# 桶里 now 时有多少：没有桶就是满的；时钟退过也不会倒扣；least 不理会空值
_LEVEL = "least(u.burst, b.ceiling, coalesce(b.tokens + greatest(extract(epoch from n.now - b.at), 0) * u.per_s, u.burst))"
_PER_S = "((q.rate_per_key ->> 'limit')::float8 / (q.rate_per_key ->> 'period_s')::float8)"
# 数的是语句开始时的快照，钟在那之后才看：其间开始的多占一会儿，不会少占
BUCKETS = f"""
select u.queue, null::text as key, {_LEVEL}::float8 as tokens, n.now as at, coalesce(b.ceiling, u.burst) as ceiling,
       (select count(*) from taskmill.tasks t where t.queue = u.queue and t.slot = 2 and {SLOTTED} and t.state = 'available') as in_hand
from unnest($1::text[], $2::text[], $3::float8[], $4::float8[]) as u(queue, key, burst, per_s)
cross join (select clock_timestamp() as now) n
left join taskmill.rate_buckets b on b.queue = u.queue
"""
KEY_BUCKETS = f"""
select u.queue, u.key, {_LEVEL}::float8 as tokens, n.now as at, coalesce(b.ceiling, u.burst) as ceiling,
       (select count(*) from taskmill.tasks t where t.queue = u.queue and t.concurrency_key = u.key and t.slot > 0
        and {SLOTTED_KEY} and t.state = 'available') as in_hand
from unnest($1::text[], $2::text[], $3::float8[], $4::float8[]) as u(queue, key, burst, per_s)
cross join (select clock_timestamp() as now) n
left join taskmill.key_rate_buckets b on b.queue = u.queue and b.key = u.key
"""
# 时刻是看的时候的，不是写的时候的：两条语句之间桶也在长
SPEND = """
insert into taskmill.rate_buckets as b (queue, tokens, at, ceiling)
select u.queue, u.tokens, u.at, u.ceiling
from unnest($1::text[], $2::text[], $3::float8[], $4::timestamptz[], $5::float8[]) as u(queue, key, tokens, at, ceiling) order by 1
on conflict (queue) do update set tokens = excluded.tokens, at = excluded.at, ceiling = excluded.ceiling
"""
SPEND_KEYS = """
insert into taskmill.key_rate_buckets as b (queue, key, tokens, at, ceiling)
select u.queue, u.key, u.tokens, u.at, u.ceiling
from unnest($1::text[], $2::text[], $3::float8[], $4::timestamptz[], $5::float8[]) as u(queue, key, tokens, at, ceiling)
order by 1, 2
on conflict (queue, key) do update set tokens = excluded.tokens, at = excluded.at, ceiling = excluded.ceiling
"""


_BURST_OF = "({rate} ->> 'burst')::float8"
# 放行而未开始的与上次看时不同的桶，至多 $2 个（limits.ROUND 的一部分）；在锁下再看一次才作数
CHANGED = f"""
select q.name as queue, null::text as key
from taskmill.rate_buckets b join taskmill.queues q on q.name = b.queue and q.rate is not null
cross join lateral (select {_BURST_OF.format(rate="q.rate")} as burst, (
  select count(*) from taskmill.tasks t where t.queue = b.queue and t.slot = 2 and {SLOTTED} and t.state = 'available') as n) h
where coalesce(b.ceiling, h.burst) <> greatest(h.burst - h.n, 0)
union all
select b.queue, b.key
from taskmill.key_rate_buckets b join taskmill.queues q on q.name = b.queue and q.rate_per_key is not null
cross join lateral (select {_BURST_OF.format(rate="q.rate_per_key")} as burst, (
  select count(*) from taskmill.tasks t where t.queue = b.queue and t.concurrency_key = b.key and t.slot > 0
  and {SLOTTED_KEY} and t.state = 'available') as n) h
where coalesce(b.ceiling, h.burst) <> greatest(h.burst - h.n, 0)
limit $2
"""
PRUNE = f"""
with old as materialized (
  select b.queue, b.key from taskmill.key_rate_buckets b left join taskmill.queues q on q.name = b.queue
  where q.rate_per_key is null
     or least(b.ceiling, b.tokens + extract(epoch from clock_timestamp() - b.at) * {_PER_S}) >= {_BURST_OF.format(rate="q.rate_per_key")}
  limit $1 for update of b skip locked
)
delete from taskmill.key_rate_buckets b using old where b.queue = old.queue and b.key = old.key returning 1
"""


@dataclass(frozen=True, slots=True)
class Level:
    """A bucket `at` a time: its tokens, and those in hand: tasks that have a slot and have not started.

    `ceiling`: what it was to fill to, as of the look before.
    """

    tokens: float
    in_hand: int
    at: datetime
    ceiling: float

    def starts(self, rate: Rate) -> int:
        """Return how many tasks may have a token now; the bucket may not know yet of a burst that became smaller."""
        return max(0, min(int(self.tokens), rate.most - self.in_hand))

    def spent(self, starts: int, rate: Rate) -> Level | None:
        """Return the bucket after `starts` tasks got a token, None if it needs no new row."""
        in_hand = self.in_hand + starts
        left = Level(self.tokens - starts, in_hand, self.at, max(0.0, float(rate.most - in_hand)))
        return left if starts or left.ceiling != self.ceiling else None


async def levels(connection: Queryable, rates: Mapping[Place, Rate]) -> dict[Place, Level]:
    """Return the bucket of each queue or key as it is now."""
    found: dict[Place, Level] = {}
    for statement, places in ((BUCKETS, _of(rates, keyed=False)), (KEY_BUCKETS, _of(rates, keyed=True))):
        if places:
            bursts, gains = [float(rates[place].most) for place in places], [rates[place].per_s for place in places]
            rows = await connection.fetch(statement, [q for q, _ in places], [k for _, k in places], bursts, gains)
            found |= {(r["queue"], r["key"]): Level(r["tokens"], r["in_hand"], r["at"], r["ceiling"]) for r in rows}
    return found


async def store(connection: Queryable, left: Mapping[Place, Level]) -> None:
    """Store buckets; the caller has the lock of their queues."""
    for statement, keyed in ((SPEND, False), (SPEND_KEYS, True)):
        if places := _of(left, keyed=keyed):
            await connection.fetch(
                statement, [q for q, _ in places], [k for _, k in places], [left[p].tokens for p in places],
                [left[p].at for p in places], [left[p].ceiling for p in places],
            )  # fmt: skip


async def prune(connection: Queryable, most: int) -> int:
    """Remove buckets of keys that are full, or whose queue has no such rate any more; returns how many."""
    return len(await connection.fetch(PRUNE, most))


def _of(places: Mapping[Place, object], *, keyed: bool) -> list[Place]:
    return sorted(
        (place for place in places if (place[1] is not None) == keyed), key=lambda place: (place[0], place[1] or "")
    )
