"""What becomes of a submit, as its submitter hears it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from taskmill.stores.tasks.submit import Inserted, NewTask


class Submitted(msgspec.Struct):
    """What became of it: the id is final once this is returned.

    A `duplicate` was not stored: id, state and time (None once it is pruned) are those of the task that has its key, which
    was `replaced` if it got its args and time. `repeated`: what the first request with the same Idempotency-Key was answered.
    """

    id: UUID
    kind: str
    queue: str
    state: str | None
    run_at: datetime | None
    duplicate: bool = False
    replaced: bool = False
    repeated: bool = False


def submitted(task: NewTask, done: Inserted) -> Submitted:
    """Return what is said of a task that was inserted, or that is a duplicate."""
    duplicate = done.duplicate_of is not None
    return Submitted(
        done.duplicate_of or task.id, task.kind, task.queue, done.state, done.run_at, duplicate, replaced=done.replaced
    )
