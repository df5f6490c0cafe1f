"""Counts of live work, computed once and shared by everybody who asks."""

from __future__ import annotations

import asyncio

import msgspec

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.log import get_logger
from taskmill.services import constants as svc
from taskmill.stores.database import Database
from taskmill.stores.faults import translate
from taskmill.stores.queues import backlog
from taskmill.stores.queues.backlog import Backlog
from taskmill.stores.why import why

log = get_logger(__name__, {"积压没有重算，先用着上一次的": "the backlog was not computed anew, the last one serves"})


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Every number is present and 0 rather than absent. `runnable`: ready tasks that no limit holds; `due_soon`: due within 60 s; `oldest_wait_s` of ready tasks."""

    queue: str
    ready: int
    runnable: int
    running: int
    due_soon: int
    oldest_wait_s: float


class BacklogService:
    """One query for all who ask at once. A dear answer is used for ten times as long as it took to compute.

    Whoever asks soon after that gets it once more, and it is computed anew behind them: nobody waits who asks all the time.
    """

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._lock = asyncio.Lock()
        self._counts: dict[str, Backlog] = {}
        self._begun = float("-inf")
        self._good_until = float("-inf")
        self._renew_at = float("-inf")
        self._renewal: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End a computation that nobody waits for."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def counts(self) -> dict[str, Backlog]:
        """Return the live counts by queue; queues without live tasks are absent."""
        asked = self._clock.monotonic()
        if asked < self._good_until:
            if asked >= self._renew_at and (self._renewal is None or self._renewal.done()):
                self._renewal = asyncio.create_task(self._renew(), name="backlog")
            return self._counts
        async with asyncio.timeout(svc.LOOKUP_TIMEOUT_S), self._lock:
            # 排队时别人算好的、在我们发问之后才开始算的，同样新鲜
            if self._begun < asked and self._clock.monotonic() >= self._good_until:
                await self._count()
            return self._counts

    async def renewed(self) -> dict[str, Backlog]:
        """Return the live counts for somebody who asks all the time: a dear answer is computed anew when it was used long enough.

        Meanwhile the others still get the last one: nobody waits.
        """
        if self._clock.monotonic() >= self._renew_at:
            async with asyncio.timeout(svc.LOOKUP_TIMEOUT_S), self._lock:
                if self._clock.monotonic() >= self._renew_at:
                    await self._count()
        return self._counts

    async def _renew(self) -> None:
        try:
            await self.renewed()
        except Exception as error:
            if translate(error) is None:
                raise
            log.warning("积压没有重算，先用着上一次的", error=why(error))

    async def of(self, queue: str) -> Backlog:
        """Return the counts of one queue; zeros for a queue that nobody knows."""
        return (await self.counts()).get(queue) or Backlog(queue)

    async def scaling(self, queue: str) -> Scaling:
        """Return the numbers of one queue for whoever scales its workers; any name is answered, known or not."""
        found = await self.of(queue)
        return Scaling(
            queue=queue,
            ready=found.available,
            runnable=found.available - found.held,
            running=found.running,
            due_soon=found.due_soon,
            oldest_wait_s=round(found.oldest_wait_s, 3),
        )

    async def _count(self) -> None:
        begun = self._clock.monotonic()
        async with self._database.sessions.begin() as session:
            self._counts = await backlog.load(session, c.DUE_SOON_S)
        ended = self._clock.monotonic()
        self._begun, cost = begun, ended - begun
        if cost > svc.BACKLOG_CHEAP_S:
            self._renew_at = ended + cost * svc.BACKLOG_COST_RATIO
            self._good_until = self._renew_at + svc.BACKLOG_GRACE_S + cost * svc.BACKLOG_GRACE_RATIO
