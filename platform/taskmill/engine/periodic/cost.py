"""What a look over everything costs, and how long a loop rests for it."""

from __future__ import annotations

from taskmill.engine import constants as ec


class Cost:
    """The shorter of the last two rounds counts: one that took long once was waiting for a server, not for many queues.

    `first` is taken for the round before the first.
    """

    def __init__(self, ratio: float, first: float = float("inf")) -> None:
        self._ratio, self._took = ratio, first

    def rest(self, took: float) -> float:
        """Return how many seconds to rest after a round that took `took`: `ratio` times its cost, at most SWEEP_MAX_S."""
        cost, self._took = min(took, self._took), took
        return min(cost * self._ratio, ec.SWEEP_MAX_S)
