"""Whether PostgreSQL lets this process in: a password that was rotated stays wrong until the process is started anew."""

from __future__ import annotations

import time
from typing import Any

import asyncpg

from taskmill.stores.reach import reach


class Login:
    """Connects for the pools of one process and remembers since when the login has been refused."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def refused_s(self) -> float:
        """Return for how long every login has been refused, in seconds; 0 while the last one succeeded."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    async def connect(self, dsn: str | None = None, **given: Any) -> Any:
        """Connect as `reach` does."""
        try:
            made = await reach(dsn, **given)
        except asyncpg.InvalidAuthorizationSpecificationError:
            self._since = time.monotonic() if self._since is None else self._since
            raise
        self._since = None
        return made
