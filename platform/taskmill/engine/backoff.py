"""Delays that double: the one way in which everything here waits for a server to come back."""

from __future__ import annotations

import asyncio

from taskmill.engine import constants as c


class Backoff:
    """Delays of `first_s`, twice that and so on up to `most_s`; `reset` begins anew, after a success."""

    def __init__(self, first_s: float = c.RECONNECT_FIRST_S, most_s: float = c.RECONNECT_MAX_S) -> None:
        self._first_s, self._most_s = min(first_s, most_s), most_s
        self.next_s = self._first_s

    def reset(self) -> None:
        """Begin anew."""
        self.next_s = self._first_s

    def grow(self) -> float:
        """Return the delay that is due now; the next one is twice as long."""
        due = self.next_s
        self.next_s = min(2 * due, self._most_s)
        return due

    async def wait(self) -> None:
        """Sleep for the delay that is due now."""
        await asyncio.sleep(self.grow())
