"""What is left to do, for whoever waits until it is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmill.stores.database import Queryable
from taskmill.stores.tasks.order.release import PENDING

# 运行中的，以及时间到了的；被上限挡着的也算：它前面的一结束就轮到它。有先后的不算，放行了才算；还没有看过该不该放行的，算一个
COUNT = f"""
select count(*) + (case when ({PENDING}) then 1 else 0 end) from taskmill.tasks t
where t.kind || ':' || t.kind_version = any ($1::text[])
  and (t.state = 'running' or t.run_at <= now() and t.state <> 'blocked'
       and not exists (select from taskmill.queues q where q.name = t.queue and q.paused_at is not null))
"""


async def count(connection: Queryable, served: Sequence[str]) -> int:
    """Return how many tasks of the kinds `served` (`kind:version`) run, or are due in a queue that is not paused.

    Blocked tasks are not due; one more as long as somebody has yet to look whether some are to be let go.
    """
    found: Any = await connection.fetchval(COUNT, list(served))
    return int(found)
