"""Clocks for tests of what takes long."""

from __future__ import annotations

from taskmill.clock import FakeClock


class SlowClock(FakeClock):
    """A clock on which `step` seconds pass before each look at it."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def monotonic(self) -> float:
        """Let the time pass, then return it."""
        self.advance(self.step)
        return super().monotonic()
