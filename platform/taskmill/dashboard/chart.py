"""Bars of the last hour and curves of waits as numbers for an inline SVG: no script draws them, and a table says the same."""

from __future__ import annotations

from dataclasses import dataclass

from taskmill.clock import rfc3339
from taskmill.services.dashboard.overview import Minute
from taskmill.services.queues.series import Quantiles, SeriesPoint

HEIGHT = 100.0
WIDTH, FLOOR = 600.0, 102.0  # viewBox 的宽，以及零在多高
QUANTILES = ("p50", "p95", "p99")


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


@dataclass(frozen=True, slots=True)
class Curves:
    """Waits over time: of each quantile its pieces as points of an SVG, what the top stands for, and the points that have waits."""

    lines: list[tuple[str, list[str]]]
    most: float
    points: list[tuple[SeriesPoint, Quantiles]]


def curves(series: list[SeriesPoint]) -> Curves:
    """Return p50, p95 and p99 of the waits; a curve has a gap where nothing ran."""
    found = [(point, point.wait_s) for point in series if point.wait_s is not None]
    most = max((wait.p99 for _, wait in found), default=0.0)
    return Curves([(name, _pieces(series, name, most)) for name in QUANTILES], most, found)


def _pieces(series: list[SeriesPoint], name: str, most: float) -> list[str]:
    step = WIDTH / max(1, len(series) - 1)
    pieces: list[list[str]] = [[]]
    for number, point in enumerate(series):
        if point.wait_s is None:
            pieces.append([])
        else:
            high = HEIGHT * min(1.0, getattr(point.wait_s, name) / most) if most else 0.0
            pieces[-1].append(f"{number * step:.1f},{FLOOR - high:.2f}")
    # 单独一点画成长度为零的线：圆的线头就是一个点
    return [" ".join(piece * 2 if len(piece) == 1 else piece) for piece in pieces if piece]
