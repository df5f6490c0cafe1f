"""Whether PostgreSQL lets this process in: a password that was rotated stays wrong until the process is started anew."""

from __future__ import annotations

from typing import Any

import asyncpg

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.stores.reach import reach


class Login:
    """Connects for the pools of one process and remembers from when to when the login was refused."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self._refusals: tuple[float, float] | None = None  # 第一次与最近一次

    @property
    def refused_s(self) -> float:
        """Return how long after the first refusal the last one came, in seconds; 0 while the last login succeeded.

        Time in which nobody tried says nothing: one refusal that no other login followed may be mended long ago.
        """
        return 0.0 if self._refusals is None else self._refusals[1] - self._refusals[0]

    async def connect(self, dsn: str | None = None, **given: Any) -> Any:
        """Connect as `reach` does."""
        try:
            made = await reach(dsn, **given)
        except asyncpg.InvalidAuthorizationSpecificationError:
            now = self.clock.monotonic()
            self._refusals = (now if self._refusals is None else self._refusals[0], now)
            raise
        self._refusals = None
        return made
