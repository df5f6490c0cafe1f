"""Token buckets of queues and of their keys, by PostgreSQL's clock.

A token is spent when a task gets its slot, which may be before it starts: what has a slot and has not started counts as
tokens in hand. So the two together are at most a burst, and in no time start more than a burst and what the bucket gained.
There is no bucket where it would be full.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskmill.controls.rate import Rate
from taskmill.models.task import SLOTTED, SLOTTED_KEY
from taskmill.stores.database import Queryable

Place = tuple[str, str | None]  # 队列与键；键为 None：只问队列

_PER_S = "(({rate} ->> 'limit')::float8 / ({rate} ->> 'period_s')::float8)"
_BURST = "({rate} ->> 'burst')::float8"
# 桶里现在有多少：没有桶就是满的；时钟退过也不会倒扣
_LEVEL = "least({burst}, coalesce(b.tokens + greatest(extract(epoch from clock_timestamp() - b.at), 0) * {per_s}, {burst}))"
_GIVEN = _LEVEL.format(burst="u.burst", per_s="u.per_s")
BUCKETS = f"""
select u.queue, null::text as key, {_GIVEN}::float8 as tokens,
       (select count(*) from taskmill.tasks t where t.queue = u.queue and t.slot = 2 and {SLOTTED} and t.state = 'available') as in_hand
from unnest($1::text[], $2::text[], $3::float8[], $4::float8[]) as u(queue, key, burst, per_s)
left join taskmill.rate_buckets b on b.queue = u.queue
"""
KEY_BUCKETS = f"""
select u.queue, u.key, {_GIVEN}::float8 as tokens,
       (select count(*) from taskmill.tasks t where t.queue = u.queue and t.concurrency_key = u.key and t.slot >= 1
        and {SLOTTED_KEY} and t.state = 'available') as in_hand
from unnest($1::text[], $2::text[], $3::float8[], $4::float8[]) as u(queue, key, burst, per_s)
left join taskmill.key_rate_buckets b on b.queue = u.queue and b.key = u.key
"""
SPEND = """
insert into taskmill.rate_buckets as b (queue, tokens, at)
select u.queue, u.tokens, clock_timestamp() from unnest($1::text[], $2::text[], $3::float8[]) as u(queue, key, tokens) order by 1
on conflict (queue) do update set tokens = excluded.tokens, at = excluded.at
"""
SPEND_KEYS = """
insert into taskmill.key_rate_buckets as b (queue, key, tokens, at)
select u.queue, u.key, u.tokens, clock_timestamp() from unnest($1::text[], $2::text[], $3::float8[]) as u(queue, key, tokens)
order by 1, 2
on conflict (queue, key) do update set tokens = excluded.tokens, at = excluded.at
"""


def _capped(table: str, rate: str, hand: str, same: str) -> str:
    """放行而未开始的占着桶的地方：桶不能趁它们等着又满起来，否则它们与一整桶会一拥而上。"""
    burst, per_s = _BURST.format(rate=f"q.{rate}"), _PER_S.format(rate=f"q.{rate}")
    level = _LEVEL.format(burst=burst, per_s=per_s)
    return f"""
update taskmill.{table} b set tokens = greatest({burst} - h.n, 0), at = clock_timestamp()
from taskmill.queues q cross join lateral ({hand}) h
where q.{rate} is not null and {same} and {level} > {burst} - h.n
"""


CAP = _capped(
    "rate_buckets",
    "rate",
    f"""select count(*) as n from taskmill.tasks t
      where t.queue = q.name and t.slot = 2 and {SLOTTED} and t.state = 'available' having count(*) > 0""",
    "b.queue = q.name",
)
CAP_KEYS = _capped(
    "key_rate_buckets",
    "rate_per_key",
    f"""select t.concurrency_key as key, count(*) as n from taskmill.tasks t
      where t.queue = q.name and t.slot in (1, 2) and {SLOTTED} and t.state = 'available' and t.concurrency_key is not null group by 1""",
    "b.queue = q.name and b.key = h.key",
)
PRUNE = f"""
with old as materialized (
  select b.queue, b.key from taskmill.key_rate_buckets b left join taskmill.queues q on q.name = b.queue
  where q.rate_per_key is null
     or b.tokens + extract(epoch from clock_timestamp() - b.at) * {_PER_S.format(rate="q.rate_per_key")} >= {_BURST.format(rate="q.rate_per_key")}
  limit $1 for update of b skip locked
)
delete from taskmill.key_rate_buckets b using old where b.queue = old.queue and b.key = old.key returning 1
"""


async def levels(connection: Queryable, rates: Mapping[Place, Rate]) -> dict[Place, tuple[float, int]]:
    """Return the tokens of each queue or key, and how many of its tasks have a slot and have not started."""
    found: dict[Place, tuple[float, int]] = {}
    for statement, places in ((BUCKETS, _of(rates, keyed=False)), (KEY_BUCKETS, _of(rates, keyed=True))):
        if places:
            bursts, gains = [float(rates[place].most) for place in places], [rates[place].per_s for place in places]
            rows = await connection.fetch(statement, [q for q, _ in places], [k for _, k in places], bursts, gains)
            found |= {(row["queue"], row["key"]): (row["tokens"], row["in_hand"]) for row in rows}
    return found


async def spend(connection: Queryable, left: Mapping[Place, float]) -> None:
    """Store what is left in buckets, as of now; the caller has the lock of their queues."""
    for statement, keyed in ((SPEND, False), (SPEND_KEYS, True)):
        if places := _of(left, keyed=keyed):
            await connection.fetch(statement, [q for q, _ in places], [k for _, k in places], [left[p] for p in places])


async def cap(connection: Queryable) -> None:
    """Keep buckets from filling above a burst, together with what has a slot and has not started."""
    await connection.fetch(CAP)
    await connection.fetch(CAP_KEYS)


async def prune(connection: Queryable, most: int) -> int:
    """Remove buckets of keys that are full, or whose queue has no such rate any more; returns how many."""
    return len(await connection.fetch(PRUNE, most))


def _of(places: Mapping[Place, object], *, keyed: bool) -> list[Place]:
    return sorted(
        (place for place in places if (place[1] is not None) == keyed), key=lambda place: (place[0], place[1] or "")
    )
