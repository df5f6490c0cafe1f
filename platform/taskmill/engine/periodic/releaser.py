"""Releaser: lets go what waits for nobody any more, and what nobody came to at once."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as ec
from taskmill.engine.periodic.lookout import Lookout
from taskmill.services.tasks.releasing import Releaser as Releasing
from taskmill.stores.database import Database
from taskmill.stores.tasks.order import dependencies, sequences

FIRST = (UUID(int=0), UUID(int=0))


class Releaser:
    """Runs on every scheduler replica; locks on the rows keep replicas apart.

    Whoever ends or submits a task does all this at once. This loop does it for submits by SQL and in transactions of others,
    for processes that ended before they came to it, for tasks with thousands of children, and now and then looks through all
    sequences and dependencies for what a program of an older version has ended. Without any of this a round is one statement.
    """

    name = "releaser"
    period_s = ec.RELEASER_PERIOD_S

    def __init__(
        self, database: Database, releasing: Releasing, *, clock: Clock = SYSTEM_CLOCK, lookout: Lookout | None = None
    ) -> None:
        self._database = database
        self._lookout = lookout or Lookout(database)
        self._releasing = releasing
        self._clock = clock
        self._after_key, self._lost_after = "", ""
        self._after_pair = FIRST
        self._mended_at = float("-inf")

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns armed and resolved (dependencies), turns, mended and more (a batch was full)."""
        mended = await self._mend()
        if not (await self._lookout.recent()).pending:
            return {"armed": 0, "resolved": 0, "turns": 0, "mended": mended, "more": 0}
        armed = await self._releasing.arm()
        resolved = await self._releasing.resolve_some()
        async with self._database.pool.acquire() as connection:
            last = await sequences.fresh(connection, self._after_key, ec.RELEASE_BATCH)
            waiting = await sequences.waiting(connection, ec.RELEASE_BATCH)
        self._after_key = max(last) if len(last) == ec.RELEASE_BATCH else ""
        turns = await self._releasing.advance(dict.fromkeys(waiting, 0) | last) if last or waiting else 0
        more = max(armed, resolved, len(last)) >= ec.RELEASE_BATCH
        return {"armed": armed, "resolved": resolved, "turns": turns, "mended": mended, "more": int(more)}

    async def _mend(self) -> int:
        if self._clock.monotonic() - self._mended_at < ec.MEND_PERIOD_S:
            return 0
        self._mended_at = self._clock.monotonic()
        async with self._database.pool.acquire() as connection:
            lost, self._lost_after = await sequences.lost(connection, self._lost_after, ec.RELEASE_BATCH)
            count, after = await dependencies.mend(connection, self._after_pair, ec.RELEASE_BATCH)
        self._after_pair = after or FIRST
        return count + (await self._releasing.advance(dict.fromkeys(lost, 0)) if lost else 0)
