"""Bars of what finished and curves of how long it took, as numbers for an inline SVG: no script draws them, and a table says the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taskmill.services.queues.series import Quantiles, SeriesPoint

HEIGHT = 100.0
WIDTH, FLOOR = 600.0, 102.0  # viewBox 的宽，以及零在多高
BAR_SHARE = 0.8  # 柱占一格的多少，其余是空隙
QUANTILES = ("p50", "p95", "p99")
OUTCOMES = ("completed", "discarded", "cancelled")  # 从下往上


@dataclass(frozen=True, slots=True)
class Part:
    """What one outcome has of a bar: its lower edge is where the outcome below ends."""

    outcome: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval in which something finished."""

    point: SeriesPoint
    x: float
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Bars:
    """All bars, their width, what the highest one stands for, and how many finished with each outcome."""

    bars: list[Bar]
    width: float
    most: int
    sums: dict[str, int]


def bars(series: list[SeriesPoint]) -> Bars:
    """Return a bar for each interval, outcomes above each other."""
    most = max((_finished(point) for point in series), default=0)
    step = WIDTH / max(1, len(series))
    found = [
        Bar(point, round((number + (1 - BAR_SHARE) / 2) * step, 2), _parts(point, most))
        for number, point in enumerate(series)
        if _finished(point)
    ]
    sums = {outcome: sum(getattr(point, outcome) for point in series) for outcome in OUTCOMES}
    return Bars(found, round(BAR_SHARE * step, 2), most, sums)


def _finished(point: SeriesPoint) -> int:
    return point.completed + point.discarded + point.cancelled


def _parts(point: SeriesPoint, most: int) -> list[Part]:
    floor, parts = FLOOR, list[Part]()
    for outcome in OUTCOMES:
        if high := HEIGHT * getattr(point, outcome) / most:
            floor -= high
            parts.append(Part(outcome, round(floor, 2), round(high, 2)))
    return parts


@dataclass(frozen=True, slots=True)
class Curves:
    """Times over time: of each quantile its pieces as points of an SVG, what the top stands for, and the points that have any."""

    lines: list[tuple[str, list[str]]]
    most: float
    points: list[tuple[SeriesPoint, Quantiles]]


def curves(series: list[SeriesPoint], of: Literal["wait_s", "run_s"]) -> Curves:
    """Return p50, p95 and p99 of the waits or of the runs; a curve has a gap where nothing ran."""
    times: list[Quantiles | None] = [getattr(point, of) for point in series]
    found = [(point, time) for point, time in zip(series, times, strict=True) if time is not None]
    most = max((time.p99 for _, time in found), default=0.0)
    return Curves([(name, _pieces(times, name, most)) for name in QUANTILES], most, found)


def _pieces(times: list[Quantiles | None], name: str, most: float) -> list[str]:
    step = WIDTH / max(1, len(times) - 1)
    pieces: list[list[str]] = [[]]
    for number, time in enumerate(times):
        if time is None:
            pieces.append([])
        else:
            high = HEIGHT * min(1.0, getattr(time, name) / most) if most else 0.0
            pieces[-1].append(f"{number * step:.1f},{FLOOR - high:.2f}")
    # 单独一点画成长度为零的线：圆的线头就是一个点
    return [" ".join(piece * 2 if len(piece) == 1 else piece) for piece in pieces if piece]
