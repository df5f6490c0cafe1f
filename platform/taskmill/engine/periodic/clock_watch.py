"""Notices that PostgreSQL's clock stepped forward, by comparing it with a clock that never steps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ClockWatch:
    """What one process has seen of the database's clock; a step of up to `tolerance_s` seconds does not count.

    `by_s` is the sum of the steps seen so far, `at_s` the database's time (Unix seconds) right after the newest one: what the
    database dated before that moment happened `by_s` later by the clock of today. Steps back are not its business.
    """

    tolerance_s: float
    by_s: float = 0.0
    at_s: float = 0.0
    _before: float | None = None

    def look(self, database_s: float, asked_s: float, answered_s: float) -> float:
        """Take in a reply with the database's time and the monotonic times around it; return how far the clock stepped forward.

        The reply was made somewhere between the two: a slow one can hide a part of a step, and never makes one up.
        """
        before, self._before = self._before, database_s - asked_s
        step = 0.0 if before is None else database_s - answered_s - before
        if step <= self.tolerance_s:
            return 0.0
        self.by_s, self.at_s = self.by_s + step, database_s
        return step
