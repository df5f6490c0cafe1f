"""Charts as pure functions: bars of outcomes above each other, curves with gaps."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.dashboard.chart import OUTCOMES, bars, curves
from taskmill.services.queues.series import Quantiles, SeriesPoint

COUNT = st.integers(0, 10**9)


def _counted(completed: int, discarded: int, cancelled: int) -> SeriesPoint:
    return SeriesPoint(
        at="x", completed=completed, discarded=discarded, cancelled=cancelled, wait_s=None, run_s=None
    )  # fmt: skip


def _point(time: float | None, of: str = "wait_s") -> SeriesPoint:
    quantiles = None if time is None else Quantiles(p50=time / 2, p95=time, p99=time)
    times: dict[str, Quantiles | None] = {"wait_s": None, "run_s": None, of: quantiles}
    return SeriesPoint(at="x", completed=1, discarded=0, cancelled=0, **times)


@given(st.lists(st.tuples(COUNT, COUNT, COUNT), max_size=200))
def test_bars_fill_the_chart_and_never_more(counts: list[tuple[int, int, int]]) -> None:
    chart = bars([_counted(*each) for each in counts])
    assert chart.sums == {name: sum(each[number] for each in counts) for number, name in enumerate(OUTCOMES)}
    heights = [sum(part.height for part in bar.parts) for bar in chart.bars]
    assert all(0 <= height <= 100.02 for height in heights)
    assert (max(heights, default=0) > 99.9) == (chart.most > 0)
    assert all(bar.x >= 0 and bar.x + chart.width <= 600.01 for bar in chart.bars)
    assert len({bar.x for bar in chart.bars}) == len(chart.bars) == sum(any(each) for each in counts)


def test_what_one_outcome_has_of_a_bar_stands_on_the_one_below() -> None:
    chart = bars([_counted(2, 1, 1), _counted(0, 0, 0), _counted(0, 2, 0)])
    first, last = chart.bars
    assert [(part.outcome, part.y, part.height) for part in first.parts] == [
        ("completed", 52.0, 50.0),
        ("discarded", 27.0, 25.0),
        ("cancelled", 2.0, 25.0),
    ]
    assert [(part.outcome, part.y, part.height) for part in last.parts] == [("discarded", 52.0, 50.0)]
    assert (first.x, last.x, chart.width, chart.most) == (20.0, 420.0, 160.0, 4)


@pytest.mark.parametrize("of", ["wait_s", "run_s"])
def test_a_curve_has_gaps_and_a_lone_point_is_a_dot(of: Literal["wait_s", "run_s"]) -> None:
    found = curves([_point(time, of) for time in (1.0, 4.0, None, 2.0)], of)
    assert found.most == 4.0
    assert dict(found.lines) == {
        "p50": ["0.0,89.50 200.0,52.00", "600.0,77.00 600.0,77.00"],
        "p95": ["0.0,77.00 200.0,2.00", "600.0,52.00 600.0,52.00"],
        "p99": ["0.0,77.00 200.0,2.00", "600.0,52.00 600.0,52.00"],
    }
    assert [getattr(point, of) for point, _ in found.points] == [time for _, time in found.points]
    other: Literal["wait_s", "run_s"] = "run_s" if of == "wait_s" else "wait_s"
    assert curves([_point(1.0, of)], other).points == []


@given(st.lists(st.none() | st.floats(0, 1e7), max_size=80))
def test_curves_stay_in_the_chart(times: list[float | None]) -> None:
    found = curves([_point(time) for time in times], "wait_s")
    for _, pieces in found.lines:
        places = [tuple(map(float, point.split(","))) for piece in pieces for point in piece.split()]
        assert all(0 <= x <= 600 and 2 <= y <= 102 for x, y in places)
    assert len(found.points) == sum(time is not None for time in times)
