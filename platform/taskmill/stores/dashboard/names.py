"""The names that people type: of queues and of kinds."""

from __future__ import annotations

from taskmill.stores.database import Queryable

NAMES = """
select (select coalesce(array_agg(name), '{}') from (select name from taskmill.queues order by name limit $1) q) as queues,
       (select coalesce(array_agg(kind), '{}') from (select distinct kind from taskmill.kinds order by kind limit $1) k) as kinds
"""


async def fetch(connection: Queryable, limit: int) -> tuple[list[str], list[str]]:
    """Return the first `limit` queues and kinds by name."""
    row = await connection.fetchrow(NAMES, limit)
    assert row is not None  # noqa: S101 - 没有 from 的查询总有一行
    return row["queues"], row["kinds"]
