"""A number over time, kept as the points where it changed: enough to say its highest or lowest in the last seconds."""

from __future__ import annotations

Points = tuple[tuple[float, int], ...]  # (时刻, 值)：值从该时刻起有效，直到下一个点


def extend(points: Points, now: float, value: int, span_s: float) -> Points:
    """Return `points` with `value` from `now` on, without what ended more than `span_s` ago."""
    if not points or points[-1][1] != value:
        points = (*points, (now, value))
    first = 0
    while first + 1 < len(points) and points[first + 1][0] <= now - span_s:
        first += 1
    return points[first:]


def since(points: Points, moment: float) -> list[int]:
    """Return the values that were in force at some time after `moment`."""
    ends = [point[0] for point in points[1:]]
    return [value for (_, value), end in zip(points, [*ends, float("inf")], strict=True) if end > moment]
