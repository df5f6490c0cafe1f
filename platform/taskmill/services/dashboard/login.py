"""The door of the dashboard: links that log in once, and a limit on wrong guesses per address."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import Code, LimitError
from taskmill.services.dashboard import constants as c


class Links:
    """Tokens that open one session each, for the developer, within LINK_LIVES_S; known to this process only."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._known: dict[bytes, float] = {}

    def make(self) -> str:
        """Return a new token."""
        token = secrets.token_urlsafe(c.TOKEN_BYTES)
        self._known[_hash(token)] = self._clock.monotonic() + c.LINK_LIVES_S
        return token

    def take(self, token: str) -> bool:
        """Say whether the token is good; it no longer is then."""
        until = self._known.pop(_hash(token), None)
        return until is not None and self._clock.monotonic() < until


class Throttle:
    """Wrong guesses by address: after FAILURES_MAX within FAILURES_WINDOW_S that address is told no more about them.

    A good key always opens: behind a proxy all visitors have one address, and nobody may keep the others out.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def failed(self, address: str) -> LimitError | None:
        """Note a wrong guess; returns TOO_MANY_LOGINS if this address has guessed too often before."""
        recent = self._recent(address)
        if len(recent) >= c.FAILURES_MAX:
            wait = recent[0] + c.FAILURES_WINDOW_S - self._clock.monotonic()
            return LimitError(Code.TOO_MANY_LOGINS, seconds=max(1, round(wait)))
        self._failures[address] = [*recent, self._clock.monotonic()]
        self._failures.move_to_end(address)
        while len(self._failures) > c.ADDRESSES_MAX:
            self._failures.popitem(last=False)
        return None

    def _recent(self, address: str) -> list[float]:
        since = self._clock.monotonic() - c.FAILURES_WINDOW_S
        return [at for at in self._failures.get(address, []) if at > since]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
