"""What finished over time, and how long it waited and ran: the numbers of charts."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from taskmill import reasons
from taskmill.clock import Timestamp, rfc3339
from taskmill.errors import Code, InputError
from taskmill.services import constants as c
from taskmill.services.tasks.service import Name, given
from taskmill.stores import constants as sc
from taskmill.stores.database import Database
from taskmill.stores.queues import rollup
from taskmill.stores.queues.histogram import quantiles_ms
from taskmill.stores.queues.rollup import Interval

STEPS: Final = (1, 5, 15, 60, 180, 360, 720, 1_440)  # 没有指定时取其中最短而点数不多的，以分钟计
_HOUR: Final = 60
QUANTILES: Final = (0.5, 0.95, 0.99)


class SeriesWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the series."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=c.SERIES_MINUTES_MAX, description="How far back.")] = (
        c.STATS_MINUTES_DEFAULT
    )
    interval_minutes: (
        Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=1_440,
                description=f"Length of an interval, over more than a day in whole hours; left out, one that gives {c.SERIES_POINTS} points at most.",
            ),
        ]
        | UnsetType
    ) = UNSET
    queue: Annotated[Name, msgspec.Meta(description="Only this queue.")] | UnsetType = UNSET
    kind: Annotated[Name, msgspec.Meta(description="Only this kind.")] | UnsetType = UNSET

    def step(self) -> int:
        """Return the length of an interval in minutes; InputError INVALID_REQUEST for parts of hours over more than a day."""
        hours = self.minutes > c.SERIES_FINE_MINUTES
        if self.interval_minutes is UNSET:
            return next(step for step in STEPS if self.minutes / step <= c.SERIES_POINTS and (step >= _HOUR or not hours))
        if hours and self.interval_minutes % _HOUR:
            raise InputError(Code.INVALID_REQUEST, field="interval_minutes", reason=reasons.WHOLE_HOURS)
        return self.interval_minutes


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds, each within 19 % (below 1 ms within 0.5 ms) of a time that has this rank."""

    p50: float
    p95: float
    p99: float


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that became final in the interval that begins `at`; how long those that ran waited after they were due, and ran (null: none ran)."""

    at: Timestamp
    completed: int
    discarded: int
    cancelled: int
    wait_s: Quantiles | None
    run_s: Quantiles | None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals from the oldest to the current one, which is not over; none is left out."""

    minutes: int
    interval_minutes: int
    points: list[SeriesPoint]


class SeriesService:
    """Everything is summed from rollups in one statement: nothing scans history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, window: SeriesWindow, known: Series | None = None) -> Series:
        """Return the series; InputError INVALID_REQUEST.

        `known` is an earlier one of the same window: its intervals in which nothing is counted any more are not read again.
        """
        step = timedelta(minutes=window.step())
        async with self._database.sessions.begin() as session:
            now = await rollup.now(session)
            first = _floor(now - timedelta(minutes=window.minutes), step)
            closed = _closed(known, first, step)
            since = first + len(closed) * step
            found = await rollup.series(session, since, step, queue=given(window.queue), kind=given(window.kind))
        by_time = {interval.at: interval for interval in found}
        starts = [since + number * step for number in range((now - since) // step + 1)]
        return Series(
            minutes=window.minutes,
            interval_minutes=window.step(),
            points=closed + [_point(by_time.get(at) or Interval(at)) for at in starts],
        )


def _closed(known: Series | None, first: datetime, step: timedelta) -> list[SeriesPoint]:
    """从 `first` 起、算的时候就已经没有人再写的间隔：最后一个间隔开始之后才算出来的。"""
    if known is None:
        return []
    still_open = 1 + math.ceil(timedelta(minutes=sc.ROLLUP_CLOSED_MINUTES) / step)
    found = [point for point in known.points[:-still_open] if point.at >= rfc3339(first)]
    return found if found and found[0].at == rfc3339(first) else []  # 钟倒着走过：从头算


def _floor(moment: datetime, step: timedelta) -> datetime:
    size = int(step.total_seconds())
    return datetime.fromtimestamp(int(moment.timestamp()) // size * size, UTC)


def _point(interval: Interval) -> SeriesPoint:
    return SeriesPoint(
        at=rfc3339(interval.at),
        completed=interval.completed,
        discarded=interval.discarded,
        cancelled=interval.cancelled,
        wait_s=_quantiles(interval.wait_hist),
        run_s=_quantiles(interval.run_hist),
    )


def _quantiles(packed: str) -> Quantiles | None:
    found = quantiles_ms(packed, QUANTILES)
    if found is None:
        return None
    p50, p95, p99 = (round(each / 1000, 6) for each in found)
    return Quantiles(p50=p50, p95=p95, p99=p99)
