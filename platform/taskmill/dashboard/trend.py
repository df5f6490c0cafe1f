"""What the charts of a page show: how far back they look, as the address says, and the numbers as drawings."""

from __future__ import annotations

from dataclasses import dataclass

from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard.chart import Bars, Curves, bars, curves
from taskmill.dashboard.visit import Visit, site_of
from taskmill.errors import Code, InputError


@dataclass(frozen=True, slots=True)
class Trend:
    """What finished in the last `hours`, in intervals of `step` minutes; how long it waited and ran."""

    hours: int
    choices: tuple[int, ...]
    step: int
    finished: Bars
    waits: Curves
    runs: Curves


async def trend(request: Visit, default: int, queue: str | None = None) -> Trend:
    """Return the charts of one queue or of all, for `?hours=` or the `default`; InputError INVALID_REQUEST."""
    hours = _hours(request, default)
    series = await site_of(request).trends.get(hours * 60, queue)
    points = series.points
    drawn = bars(points), curves(points, "wait_s"), curves(points, "run_s")
    return Trend(hours, dc.TREND_HOURS, series.interval_minutes, *drawn)


def _hours(request: Visit, default: int) -> int:
    given = request.query_params.get("hours", str(default))
    if given not in (known := [str(each) for each in dc.TREND_HOURS]):
        raise InputError(Code.INVALID_REQUEST, field="hours", reason=reasons.ONE_OF(names=", ".join(known)))
    return int(given)
