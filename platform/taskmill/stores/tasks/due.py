"""What is left to do, for whoever waits until it is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmill.stores.database import Queryable

# 运行中的，以及时间到了的；被上限挡着的也算：它前面的一结束就轮到它
COUNT = """
select count(*) from taskmill.tasks t
where t.kind || ':' || t.kind_version = any ($1::text[])
  and (t.state = 'running' or t.run_at <= now()
       and not exists (select from taskmill.queues q where q.name = t.queue and q.paused_at is not null))
"""


async def count(connection: Queryable, served: Sequence[str]) -> int:
    """Return how many tasks of the kinds `served` (`kind:version`) run, or are due in a queue that is not paused."""
    found: Any = await connection.fetchval(COUNT, list(served))
    return int(found)
