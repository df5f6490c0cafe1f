"""Counts of live work, computed once and shared by everybody who asks."""

from __future__ import annotations

import asyncio

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.stores import backlog
from taskmill.stores.backlog import Backlog
from taskmill.stores.database import Database


class BacklogService:
    """One query for all; its answer is good for ten times as long as it took, so that it never loads the database."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._lock = asyncio.Lock()
        self._counts: dict[str, Backlog] = {}
        self._good_until = float("-inf")

    async def counts(self) -> dict[str, Backlog]:
        """Return the live counts by queue; queues without live tasks are absent."""
        asked = self._clock.monotonic()
        if asked < self._good_until:
            return self._counts
        async with self._lock:
            if self._clock.monotonic() >= self._good_until:
                started = self._clock.monotonic()
                async with self._database.sessions.begin() as session:
                    self._counts = await backlog.load(session, c.DUE_SOON_S)
                ended = self._clock.monotonic()
                self._good_until = ended + (ended - started) * c.BACKLOG_COST_RATIO
            return self._counts

    async def of(self, queue: str) -> Backlog:
        """Return the counts of one queue; zeros for a queue that nobody knows."""
        return (await self.counts()).get(queue) or Backlog(queue)
