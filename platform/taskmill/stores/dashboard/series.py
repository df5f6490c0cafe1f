"""What finished in each minute, from the rollups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from taskmill.stores.database import Queryable

# generate_series 补上没有任务的分钟：图上要看得出空白
FINISHED = """
select m.minute,
       coalesce(sum(r.n) filter (where r.outcome = 'completed'), 0)::int8 as completed,
       coalesce(sum(r.n) filter (where r.outcome = 'discarded'), 0)::int8 as discarded
from generate_series(date_trunc('minute', now()) - make_interval(mins => $1 - 1), date_trunc('minute', now()), interval '1 minute') m(minute)
left join taskmill.rollups r on r.minute = m.minute
group by m.minute order by m.minute
"""


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute: how many tasks completed and how many failed for good."""

    minute: datetime
    completed: int
    discarded: int


async def finished(connection: Queryable, minutes: int) -> list[Minute]:
    """Return the last `minutes`, the current one included, the oldest first."""
    return [Minute(*row) for row in await connection.fetch(FINISHED, minutes)]
