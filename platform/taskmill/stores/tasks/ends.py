"""Which of some tasks are no longer live, and what they left."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from taskmill.stores.database import Queryable

# 还活着的先挑出去：历史按天分区，一个编号要在每个分区里找
ENDED = """
select u.id, h.state, h.result, h.error
from unnest($1::uuid[]) as u(id)
left join lateral (select t.id from taskmill.tasks t where t.id = u.id offset 0) t on true
left join lateral (
  select f.state, f.result, f.error from taskmill.task_history f where t.id is null and f.id = u.id limit 1
) h on true
where t.id is null
"""


@dataclass(frozen=True, slots=True)
class End:
    """What a task left, `result` and `error` as JSON bytes; `state` None: it is nowhere, not committed yet or pruned."""

    state: str | None
    result: bytes | None
    error: bytes | None


async def ended(connection: Queryable, ids: Collection[UUID]) -> dict[UUID, End]:
    """Return those of the tasks that are not live."""
    rows = await connection.fetch(ENDED, sorted(ids))
    return {row["id"]: End(row["state"], row["result"], row["error"]) for row in rows}
