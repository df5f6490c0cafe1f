"""The result of one final task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskmill.stores.database import Queryable

LOAD = """
select state, result, error ->> 'message' as error, started_at, finished_at
from taskmill.task_history where id = $1
"""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """State and result (JSON bytes) of a final task."""

    state: str
    result: bytes | None
    error: str | None
    started_at: datetime | None
    finished_at: datetime


async def load(connection: Queryable, task_id: str) -> StoredResult | None:
    """Return the result, or None if the task is not final or does not exist."""
    row = await connection.fetchrow(LOAD, UUID(task_id))
    return None if row is None else StoredResult(*row)
