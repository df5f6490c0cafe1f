"""Sums that several pages show, computed once for all sessions: whoever asks within a second gets the same ones."""

from __future__ import annotations

import asyncio

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.services.dashboard import constants as c
from taskmill.services.page import Page, Paging
from taskmill.services.queues.policy import QueueView
from taskmill.services.queues.service import QueueService
from taskmill.services.queues.stats import Stats, StatsService, StatsWindow


class Overview:
    """The sums of now. One query at a time; the others wait for its answer."""

    def __init__(self, stats: StatsService, queues: QueueService, clock: Clock = SYSTEM_CLOCK) -> None:
        self._stats = stats
        self._queues = queues
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: tuple[Stats, Page[QueueView]] | None = None
        self._until = float("-inf")

    async def get(self) -> tuple[Stats, Page[QueueView]]:
        """Return the sums of the last hour and the queues of the first page."""
        async with self._lock:
            if self._found is None or self._clock.monotonic() >= self._until:
                began = self._clock.monotonic()
                self._found = await self._sum()
                now = self._clock.monotonic()
                self._until = now + max(c.SUMS_S, (now - began) * c.PULSE_COST_RATIO)
            return self._found

    async def _sum(self) -> tuple[Stats, Page[QueueView]]:
        stats = await self._stats.get(StatsWindow())
        return stats, await self._queues.list(Paging(page_size=c.QUEUES_SUMMED))

    def forget(self) -> None:
        """Compute anew at the next question: somebody changed something and wants to see it."""
        self._until = float("-inf")
