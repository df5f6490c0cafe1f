"""Tickets whose claim failed because PostgreSQL was away: tried again at once when it is back."""

from __future__ import annotations

import time

from taskmill.engine import constants as c
from taskmill.stores.broker.tickets import Entry, Lane


class Unclaimed:
    """What one fetcher has read and not claimed. A claim may be repeated at will: its fence lets it happen once.

    Without this the tickets would lie until the auditor finds them, PENDING_IDLE_MS later. When they are as old as that they
    are left to it: somebody else may have them by then.
    """

    def __init__(self) -> None:
        self._found: dict[Lane, list[Entry]] = {}
        self._read_at = 0.0

    def note(self, found: dict[Lane, list[Entry]]) -> None:
        """Remember what is about to be claimed; what is tried again keeps its age."""
        if found is not self._found:
            self._found, self._read_at = found, time.monotonic()

    def take(self) -> dict[Lane, list[Entry]]:
        """Return what is to be claimed again; empty if there is nothing or it is too old."""
        if time.monotonic() - self._read_at >= c.PENDING_IDLE_MS / 1000:
            self.clear()
        return self._found

    def keep_if(self, *, away: bool) -> None:
        """After a failure: keep it only if the server was away; what cannot be claimed must not be tried for ever."""
        if not away:
            self.clear()

    def clear(self) -> None:
        """Forget it: it was claimed, or others shall have it."""
        self._found = {}
