"""Lookout: one look at what there is to do serves every loop of a scheduler, and wakes those that have something."""

from __future__ import annotations

from collections.abc import Callable

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as ec
from taskmill.engine.periodic.cost import Cost
from taskmill.stores.database import Database
from taskmill.stores.tasks.glance import Glance, glance, glance_lately


class Lookout:
    """Asks PostgreSQL for one of the loops, the stager, and tells the others; who hears nothing for long asks itself.

    One for each scheduler. A loop that is alone has its own, which asks every time since nobody asked lately.
    """

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._last = Glance()
        self._asked_at = float("-inf")
        self._told_at = float("-inf")
        self._cost = Cost(ec.LOOK_COST_RATIO)
        self._whole_at = float("-inf")
        self._listeners: list[tuple[Callable[[Glance], bool], Callable[[], None]]] = []

    def wake(self, concerned: Callable[[Glance], bool], wake: Callable[[], None]) -> None:
        """Call `wake` after each look that concerns it, at most once in LOOKOUT_TELL_S."""
        self._listeners.append((concerned, wake))

    async def look(self) -> Glance:
        """Look now, and wake whom it concerns. Errors: asyncpg's.

        A look at everything that was costly is followed by looks at what came lately, until its time has been made up for.
        """
        now = self._clock.monotonic()
        self._last = found = await self._glance(now)
        self._asked_at = now
        if self._listeners and now - self._told_at >= ec.LOOKOUT_TELL_S:
            self._told_at = now
            for concerned, wake in self._listeners:
                if concerned(found):
                    wake()
        return found

    async def _glance(self, now: float) -> Glance:
        """谁的事务开得久，索引里的死项就清不掉：从头看一遍贵了，就隔久一些，其间只看最近的。"""
        pool = self._database.pool
        if self._listeners and now < self._whole_at:
            return await glance_lately(pool, self._last)
        found = await glance(pool)
        done = self._clock.monotonic()
        self._whole_at = done + self._cost.rest(done - now)
        return found

    async def recent(self) -> Glance:
        """Return what a look of the stager found, if it is not older than LOOKOUT_AGE_S; else look. Errors: asyncpg's."""
        if self._listeners and self._clock.monotonic() - self._asked_at <= ec.LOOKOUT_AGE_S:
            return self._last
        return await self.look()
