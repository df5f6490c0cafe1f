"""Sums that several pages show, computed once for all sessions."""

from __future__ import annotations

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.services.dashboard import constants as c
from taskmill.services.dashboard.kept import Kept
from taskmill.services.page import Page, Paging
from taskmill.services.queues.policy import QueueView
from taskmill.services.queues.service import QueueService
from taskmill.services.queues.stats import Stats, StatsService, StatsWindow

Sums = tuple[Stats, Page[QueueView]]


class Overview:
    """The sums of now: those of the last hour, and the queues of the first page."""

    def __init__(self, stats: StatsService, queues: QueueService, clock: Clock = SYSTEM_CLOCK) -> None:
        self._stats = stats
        self._queues = queues
        self._kept = Kept[Sums](lambda _: self._sum(), clock, lambda: c.SUMS_S)

    async def get(self) -> Sums:
        """Return the sums of the last hour and the queues of the first page."""
        return await self._kept.get()

    def forget(self) -> None:
        """Compute anew at the next question: somebody changed something and wants to see it."""
        self._kept.forget()

    async def _sum(self) -> Sums:
        stats = await self._stats.get(StatsWindow())
        return stats, await self._queues.list(Paging(page_size=c.QUEUES_SUMMED))
