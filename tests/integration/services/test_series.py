"""Charts: what the settle counts in minutes, what merges keep, what the series says."""

from __future__ import annotations

import bisect
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from taskmill.engine.periodic.pruner import Pruner
from taskmill.errors import InputError
from taskmill.ids import new_id
from taskmill.services import constants as svc
from taskmill.services.platform import Platform
from taskmill.services.queues.series import Series, SeriesService, SeriesWindow
from taskmill.states import Cause, State
from taskmill.stores import constants as c
from taskmill.stores.queues import histogram
from taskmill.stores.tasks.partitions import ensure_partitions
from taskmill.stores.tasks.prune import NOBODY
from taskmill.stores.tasks.settle import Outcome, settle
from tests.support import rows
from tests.support.platforms import opened

pytestmark = pytest.mark.anyio
ERROR = 1.2


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with opened(database_url, broker_url) as found:
        async with found.database.pool.acquire() as connection:
            await ensure_partitions(connection, 1)
        yield found


async def series(platform: Platform, **window: object) -> Series:
    return await SeriesService(platform.database).get(SeriesWindow(**window))  # pyright: ignore[reportArgumentType]


async def ended(
    platform: Platform,
    *,
    wait_s: float,
    run_s: float,
    state: State = State.COMPLETED,
    writer: UUID | None = None,
    queue: str = "q",
) -> None:
    """Settle a task that waited and ran for so long."""
    worker, now = new_id(), await rows.now(platform.database.pool)
    begun = now - timedelta(seconds=run_s)
    due = begun - timedelta(seconds=wait_s)
    task_id = await rows.add_running(platform.database.pool, worker, queue=queue, started_at=begun, run_at=due)
    cause = None if state is State.COMPLETED else Cause.ERROR
    outcome = Outcome(task_id, 1, worker, state, cause=cause, kind="demo.echo", home=queue)
    async with platform.database.transaction() as connection:
        assert await settle(connection, [outcome], writer or new_id()) == {task_id: state}


async def test_the_database_packs_as_the_tests_do(platform: Platform) -> None:
    times = [0.0, 0.4, 0.99, 1.0, 1.41, 1.4143, 2.0, 999.0, 86_400_000.0, 2.0**29.5, 2.0**45, -5.0]
    statement = f"select {histogram.sum_of('ms')} from unnest($1::float8[]) ms"
    found = int(await platform.database.pool.fetchval(statement, [*times, None]))
    bounds = [2 ** (k / 2) for k in range(histogram.BUCKETS)]
    assert found == sum(histogram.BASE ** bisect.bisect_right(bounds, each) for each in times)


async def test_the_settle_counts_waits_and_runs_of_what_ran(platform: Platform) -> None:
    for _ in range(9):
        await ended(platform, wait_s=2, run_s=10)
    await ended(platform, wait_s=100, run_s=0.0, state=State.DISCARDED)
    await ended(platform, wait_s=5_000, run_s=5_000, state=State.CANCELLED)
    await ended(platform, wait_s=5_000, run_s=5_000, queue="elsewhere")
    found = await series(platform, minutes=5, queue="q")
    points = [point for point in found.points if point.completed or point.discarded or point.cancelled]
    assert sum(point.completed for point in points) == 9
    assert (sum(p.discarded for p in points), sum(p.cancelled for p in points)) == (1, 1)
    whole = (await series(platform, minutes=5, interval_minutes=60, queue="q")).points[-1]
    if len(points) == 1:  # 正好跨了整点的，两边各有一些
        assert whole.wait_s is not None
        assert whole.run_s is not None
        assert 2 / ERROR <= whole.wait_s.p50 <= 2 * ERROR
        assert 100 / ERROR <= whole.wait_s.p95 <= whole.wait_s.p99 <= 100 * ERROR
        assert 10 / ERROR <= whole.run_s.p50 <= whole.run_s.p99 <= 11 * ERROR


async def test_no_interval_is_left_out(platform: Platform) -> None:
    found = await series(platform, minutes=60)
    assert len(found.points) in {60, 61}
    assert {(point.completed, point.wait_s, point.run_s) for point in found.points} == {(0, None, None)}
    assert found.points[0].at < found.points[-1].at


@pytest.mark.parametrize(
    ("minutes", "step"), [(1, 1), (200, 1), (201, 5), (1_000, 5), (1_440, 15), (1_441, 60), (svc.SERIES_MINUTES_MAX, 60)]
)
def test_an_interval_is_chosen_that_gives_few_points(minutes: int, step: int) -> None:
    assert SeriesWindow(minutes=minutes).step() == step


@pytest.mark.parametrize(
    ("minutes", "interval", "taken"),
    [
        (svc.SERIES_FINE_MINUTES, 1, True), (svc.SERIES_FINE_MINUTES + 1, 1, False), (svc.SERIES_FINE_MINUTES + 1, 90, False),
        (svc.SERIES_FINE_MINUTES + 1, 60, True), (svc.SERIES_MINUTES_MAX, 120, True),
    ],
)  # fmt: skip
def test_over_more_than_a_day_an_interval_is_in_whole_hours(minutes: int, interval: int, taken: bool) -> None:
    window = SeriesWindow(minutes=minutes, interval_minutes=interval)
    if taken:
        assert window.step() == interval
    else:
        with pytest.raises(InputError, match="interval_minutes"):
            window.step()


async def old(platform: Platform, minutes: int, writer: UUID, n: int = 1) -> None:
    await platform.database.pool.execute(
        "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_ms, run_ms, wait_hist, run_hist) values "
        "(date_trunc('minute', now()) - $1 * interval '1 minute', 'q', 'k', 'completed', $2, $3::bigint, 5, 7, $3::bigint * 1e12, $3::bigint * 1e24)",
        minutes, writer, n,
    )  # fmt: skip


async def left(platform: Platform) -> list[tuple[object, ...]]:
    found = await platform.database.pool.fetch(
        "select writer, n, wait_ms, run_ms, wait_hist::numeric, run_hist::numeric from taskmill.rollups order by minute, n"
    )
    return [
        (row["writer"], row["n"], row["wait_ms"], row["run_ms"], int(row["wait_hist"]), int(row["run_hist"]))
        for row in found
    ]


@pytest.mark.parametrize(
    ("minutes", "merged"),
    [(0, False), (c.ROLLUP_CLOSED_MINUTES, False), (c.ROLLUP_CLOSED_MINUTES + 1, True), (c.ROLLUP_LOOK_MINUTES, True),
     (c.ROLLUP_LOOK_MINUTES + 2, False)],
)  # fmt: skip
async def test_the_writers_of_a_closed_minute_become_one_row(platform: Platform, minutes: int, merged: bool) -> None:
    first, second = new_id(), new_id()
    await old(platform, minutes, first, 2)
    await old(platform, minutes, second, 3)
    counts = await Pruner(platform.database).run_once()
    found = await left(platform)
    if minutes == c.ROLLUP_CLOSED_MINUTES and counts["rollups"]:
        return  # 一分钟正好在其间过去了
    assert counts["rollups"] == 2 * merged
    assert found == ([(NOBODY, 5, 10, 14, 5 * 10**12, 5 * 10**24)] if merged else
                     [(first, 2, 5, 7, 2 * 10**12, 2 * 10**24), (second, 3, 5, 7, 3 * 10**12, 3 * 10**24)])  # fmt: skip


async def test_old_minutes_become_days_and_the_sums_stay(platform: Platform) -> None:
    day = 1_440
    for minutes in (20 * day, 20 * day + 1, 20 * day + 2):
        await old(platform, minutes, NOBODY)
        await old(platform, minutes, new_id())
    await Pruner(platform.database).run_once()
    found = await left(platform)
    assert len(found) <= 2  # 也许跨了一天
    assert [sum(int(str(row[place])) for row in found) for place in (1, 4, 5)] == [6, 6 * 10**12, 6 * 10**24]
    assert (await Pruner(platform.database).run_once())["rollups"] == 0


async def counted(platform: Platform, minutes: int, n: int) -> None:
    """So many more completed so many minutes ago."""
    await platform.database.pool.execute(
        "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n) values "
        "(date_trunc('minute', now()) - $1 * interval '1 minute', 'q', 'k', 'completed', $2, $3)",
        minutes,
        new_id(),
        n,
    )


@pytest.mark.parametrize(
    ("minutes", "ago", "read"),
    [
        (360, 0, True),
        (360, c.ROLLUP_CLOSED_MINUTES, True),
        (360, 2 * c.ROLLUP_CLOSED_MINUTES, False),
        (360, 350, False),
        (60, 0, True),
        (60, c.ROLLUP_CLOSED_MINUTES, True),
        (60, c.ROLLUP_CLOSED_MINUTES + 3, False),
        (10_080, c.ROLLUP_CLOSED_MINUTES, True),
        (10_080, 300, False),
    ],
)
async def test_what_is_closed_is_not_read_again(platform: Platform, minutes: int, ago: int, read: bool) -> None:
    await counted(platform, ago, 1)
    await counted(platform, minutes - 70 if minutes > 60 else 50, 5)
    service, window = SeriesService(platform.database), SeriesWindow(minutes=minutes)
    before = await service.get(window)
    await counted(platform, ago, 10)
    again = await service.get(window, before)
    assert sum(point.completed for point in before.points) == 6
    assert sum(point.completed for point in again.points) == (16 if read else 6)
    fresh = await service.get(window)
    assert [point.at for point in again.points] == [point.at for point in fresh.points]
    assert sum(point.completed for point in fresh.points) == 16


async def test_a_series_of_long_ago_and_one_of_the_future_are_not_built_upon(platform: Platform) -> None:
    await counted(platform, 30, 3)
    service, window = SeriesService(platform.database), SeriesWindow(minutes=60)
    fresh = await service.get(window)
    for points in (fresh.points[40:], [], fresh.points[:1]):
        other = Series(minutes=60, interval_minutes=1, points=points)
        again = await service.get(window, other)
        assert [(point.at, point.completed) for point in again.points] == [
            (point.at, point.completed) for point in fresh.points
        ]
