"""Bars of the last hour as numbers for an inline SVG: no script draws them, and a table says the same."""

from __future__ import annotations

from dataclasses import dataclass

from taskmill.clock import rfc3339
from taskmill.services.dashboard.overview import Minute

HEIGHT = 100.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute: two heights in percent of the highest bar, the lower one first."""

    at: str
    completed: int
    discarded: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Chart:
    """All bars, and what the highest one stands for."""

    bars: list[Bar]
    most: int


def bars(minutes: list[Minute]) -> Chart:
    """Return the bars of these minutes."""
    most = max((each.completed + each.discarded for each in minutes), default=0)
    scale = HEIGHT / most if most else 0.0
    return Chart(
        [
            Bar(
                rfc3339(each.minute),
                each.completed,
                each.discarded,
                round(each.completed * scale, 2),
                round(each.discarded * scale, 2),
            )
            for each in minutes
        ],
        most,
    )
