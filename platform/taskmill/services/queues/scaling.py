"""Backlog numbers for whoever scales workers."""

from __future__ import annotations

import msgspec

from taskmill.services.queues.backlog import BacklogService


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Every number is present and 0 rather than absent. `due_soon`: due within 60 s; `oldest_wait_s` of ready tasks."""

    queue: str
    ready: int
    running: int
    due_soon: int
    oldest_wait_s: float


class ScalingService:
    """Answers for any queue name, known or not."""

    def __init__(self, backlog: BacklogService) -> None:
        self._backlog = backlog

    async def get(self, queue: str) -> Scaling:
        """Return the numbers of one queue."""
        found = await self._backlog.of(queue)
        return Scaling(
            queue=queue,
            ready=found.available,
            running=found.running,
            due_soon=found.due_soon,
            oldest_wait_s=round(found.oldest_wait_s, 3),
        )
