"""What changes when something happens: a few cheap facts, from which nobody could tell what it was."""

from __future__ import annotations

from taskmill.stores.database import Queryable

# 每项只看索引的一端或小表；活动表的计数另有一次共用的查询。`order by id` 会是变成文字的那个 id，要把整张表排一遍
FACTS = """
select
  (select t.id::text from taskmill.tasks t order by t.id desc limit 1) as newest,
  (select concat_ws(' ', max(minute), sum(n)) from taskmill.rollups
   where minute >= date_trunc('minute', now()) - interval '2 minutes') as finished,
  (select concat_ws(' ', count(*), max(updated_at)) from taskmill.queues) as queues,
  (select concat_ws(' ', count(*), max(updated_at), max(last_fire_at)) from taskmill.schedules) as schedules,
  (select md5(coalesce(string_agg(concat_ws(' ', id, draining, running, ready, order_kind, lease_until < now()), ',' order by id), ''))
   from taskmill.workers where dead_at is null) as workers
"""


async def facts(connection: Queryable) -> dict[str, str | None]:
    """Return a text per fact; it is another one after a change."""
    row = await connection.fetchrow(FACTS)
    return {} if row is None else dict(row)
