"""What a handler knows of the attempt it runs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from taskmill import constants as c
from taskmill.log import get_logger

Submit = Callable[..., Awaitable[UUID]]


@dataclass(slots=True)
class TaskContext:
    """Facts of one attempt.

    `id` is the key for deduplication by the handler, `claim_no` the fencing token towards other systems (it only
    grows), `deadline` the UTC time at which the attempt is stopped. `cancelled` turns true when a cancel, a timeout or a
    drain asks the attempt to end; handlers in threads poll it. `result_max_bytes` is the most that a result may have,
    encoded as JSON.
    """

    id: UUID
    kind: str
    queue: str
    claim_no: int
    attempt: int
    max_attempts: int
    deadline: datetime
    meta: Any = None
    tags: tuple[str, ...] = ()
    submitter: Submit | None = None
    cancelled: bool = False
    result_max_bytes: int = c.RESULT_MAX_BYTES

    @property
    def log(self) -> Any:
        """Return a logger that carries task_id, kind and attempt."""
        return get_logger("taskmill.task").bind(task_id=str(self.id), kind=self.kind, attempt=self.attempt)

    async def submit(self, kind: str, args: Any = None, **options: Any) -> UUID:
        """Submit a further task and return its id; options as in the submit service. Errors: InputError."""
        if self.submitter is None:
            message = "this context cannot submit tasks"
            raise RuntimeError(message)
        return await self.submitter(kind, args, **options)
