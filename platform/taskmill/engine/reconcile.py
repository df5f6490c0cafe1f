"""Reconcile: compares the rows that PostgreSQL says a worker runs with those that it holds, and hands strangers back."""

from __future__ import annotations

import time
from collections.abc import Mapping

from taskmill.engine import constants as c
from taskmill.engine.attempts import outcomes
from taskmill.engine.attempts.slots import Slots
from taskmill.engine.claimer import Claimer
from taskmill.engine.settler import Settler
from taskmill.log import get_logger

log = get_logger(__name__)


class Reconcile:
    """A loop of one incarnation: now and then, and at once after a claim whose commit has an unknown outcome.

    A claim may have been committed without its reply (a connection cut, a stop in the middle): nobody would run the row.
    """

    name = "reconcile"
    period_s = c.RECONCILE_CHECK_S

    def __init__(self, claimer: Claimer, slots: Slots, settler: Settler) -> None:
        self._claimer, self._slots, self._settler = claimer, slots, settler
        self._checked_at = time.monotonic()

    async def run_once(self) -> Mapping[str, int]:
        """Compare if it is time to, or there is doubt; returns handed_back (rows)."""
        if not self._claimer.doubtful and time.monotonic() - self._checked_at < c.RECONCILE_PERIOD_S:
            return {}
        return {"handed_back": await self.hand_back()}

    async def hand_back(self) -> int:
        """Compare now; returns how many rows were handed back, not counted as attempts."""
        orphans = await self._claimer.orphans(self._slots.known)
        for task_id, claim_no in orphans:
            self._settler.put(outcomes.orphaned(task_id, claim_no, self._claimer.worker_id))
        if orphans:
            log.warning("交还了回复丢失的认领", count=len(orphans))
        self._checked_at = time.monotonic()
        return len(orphans)
