"""The names that the filter bar completes and the jump palette finds, read once for all sessions."""

from __future__ import annotations

import asyncio

import msgspec

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.services.dashboard import constants as c
from taskmill.stores.dashboard import names as store
from taskmill.stores.database import Database


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The first NAMES_MAX of each by name."""

    queues: list[str]
    kinds: list[str]


class Names:
    """What there is, at most NAMES_S seconds old. One query at a time; the others wait for its answer."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found = Known(queues=[], kinds=[])
        self._until = float("-inf")

    def forget(self) -> None:
        """Read anew at the next question: somebody may have made a name."""
        self._until = float("-inf")

    async def get(self) -> Known:
        """Return the names of queues and kinds."""
        async with self._lock:
            if self._clock.monotonic() >= self._until:
                queues, kinds = await store.fetch(self._database.pool, c.NAMES_MAX)
                self._found = Known(queues=queues, kinds=kinds)
                self._until = self._clock.monotonic() + c.NAMES_S
            return self._found
