"""What is known of a task that does not wait: who runs it, and what its end left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskmill.models.task import UNIQUE_HELD
from taskmill.stores.database import Queryable

WORKER = """
select w.hostname, w.lease_until, w.dead_at is null and w.lease_until >= now() as lives from taskmill.workers w where w.id = $1
"""
# $2 为空：没有键，或键只在等待时占着
ENDED = f"""
select (select a.cause from taskmill.task_attempts a where a.task_id = $1 order by a.claim_no desc limit 1) as cause,
       (select s.key from taskmill.sequence_stops s where s.task_id = $1) as stops,
       (select t.id from taskmill.tasks t where t.unique_key = $2 and {UNIQUE_HELD}) as holder
"""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The worker that a row names; `lives`: its lease has not run out."""

    hostname: str
    lease_until: datetime
    lives: bool


@dataclass(frozen=True, slots=True)
class EndFacts:
    """Why the last attempt that did not complete ended, the sequence that the task stops, and who has its unique key now."""

    cause: str | None
    stops: str | None
    holder: UUID | None


async def worker_of(connection: Queryable, worker_id: UUID | None) -> WorkerFacts | None:
    """Return the worker, None if its row is gone."""
    row = await connection.fetchrow(WORKER, worker_id)
    return None if row is None else WorkerFacts(row["hostname"], row["lease_until"], row["lives"])


async def ended(connection: Queryable, task_id: UUID, unique_key: str | None, unique_while: str | None) -> EndFacts:
    """Return what the end of a final task left behind."""
    row = await connection.fetchrow(ENDED, task_id, unique_key if unique_while == "live" else None)
    return EndFacts(None, None, None) if row is None else EndFacts(row["cause"], row["stops"], row["holder"])
