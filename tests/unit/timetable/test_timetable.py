"""When schedules fire: tables for clock changes and missed fires, properties against a walk over every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill import constants as c
from taskmill.errors import Code, InputError
from taskmill.timetable.timetable import Timetable

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(*texts: str) -> list[datetime]:
    return [utc(text) for text in texts]


# 柏林：2026-03-29 02:00 拨到 03:00（+1 → +2），2026-10-25 03:00 拨回 02:00。开罗：2026-04-24 零点拨到一点（+2 → +3）
CLOCK_CHANGES = [
    (
        "skipped: fires once after the gap",
        "Europe/Berlin",
        "30 2 * * *",
        "2026-03-28T12:00",
        at("2026-03-29T01:00", "2026-03-30T00:30"),
    ),
    (
        "skipped: two times of one gap fire once",
        "Europe/Berlin",
        "0,30 2 * * *",
        "2026-03-28T12:00",
        at("2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:30"),
    ),
    (
        "skipped: a time outside the gap is untouched",
        "Europe/Berlin",
        "30 3 * * *",
        "2026-03-28T12:00",
        at("2026-03-29T01:30", "2026-03-30T01:30"),
    ),
    (
        "skipped: wildcards fire at what exists",
        "Europe/Berlin",
        "*/30 * * * *",
        "2026-03-29T00:15",
        at("2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"),
    ),
    (
        "skipped: wildcard minutes of the lost hour",
        "Europe/Berlin",
        "*/30 2 * * *",
        "2026-03-28T12:00",
        at("2026-03-30T00:00", "2026-03-30T00:30"),
    ),
    (
        "repeated: fires the first time only",
        "Europe/Berlin",
        "30 2 * * *",
        "2026-10-24T12:00",
        at("2026-10-25T00:30", "2026-10-26T01:30"),
    ),
    ("repeated: asked within the second hour", "Europe/Berlin", "30 2 * * *", "2026-10-25T01:10", at("2026-10-26T01:30")),
    (
        "repeated: wildcards fire in both hours",
        "Europe/Berlin",
        "*/30 2 * * *",
        "2026-10-24T12:00",
        at("2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-26T01:00"),
    ),
    (
        "repeated: six fields fire in both hours",
        "Europe/Berlin",
        "15 30 2 * * *",
        "2026-10-24T12:00",
        at("2026-10-25T00:30:15", "2026-10-25T01:30:15"),
    ),
    (
        "midnight skipped: daily job",
        "Africa/Cairo",
        "0 0 * * *",
        "2026-04-23T12:00",
        at("2026-04-23T22:00", "2026-04-24T21:00"),
    ),
    (
        "midnight skipped: wildcard of the lost hour",
        "Africa/Cairo",
        "*/20 0 * * *",
        "2026-04-23T22:30",
        at("2026-04-24T21:00"),
    ),
    (
        "midnight skipped: wildcard of the next hour",
        "Africa/Cairo",
        "*/20 1 * * *",
        "2026-04-23T12:00",
        at("2026-04-23T22:00", "2026-04-23T22:20", "2026-04-23T22:40", "2026-04-24T22:00"),
    ),
    (
        "repeated: the offset is not whole hours",
        "Pacific/Chatham",
        "6,56 */3 * * *",
        "2027-04-03T11:30",
        at("2027-04-03T13:21", "2027-04-03T14:21", "2027-04-03T15:11"),
    ),
    ("no clock change", "Asia/Shanghai", "0 8 * * *", "2026-03-28T12:00", at("2026-03-29T00:00", "2026-03-30T00:00")),
    ("leap day", "UTC", "0 0 29 2 *", "2026-01-01T00:00", at("2028-02-29T00:00", "2032-02-29T00:00")),
]


@pytest.mark.parametrize(
    ("zone", "cron", "after", "expected"), [case[1:] for case in CLOCK_CHANGES], ids=[case[0] for case in CLOCK_CHANGES]
)
def test_clock_changes(zone: str, cron: str, after: str, expected: list[datetime]) -> None:
    assert Timetable(cron=cron, timezone=zone).next_fires(utc(after), len(expected)) == expected


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Asia/Shanghai", "Australia/Sydney", "America/Santiago")
CHANGES = {  # 每个时区一次拨快、一次拨回附近的日子
    "UTC": ("2026-03-29", "2026-10-25"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Africa/Cairo": ("2026-04-24", "2026-10-30"),
    "Asia/Shanghai": ("2026-03-29", "2026-10-25"),
    "Australia/Sydney": ("2026-10-04", "2026-04-05"),
    "America/Santiago": ("2026-09-06", "2026-04-05"),
}
minutes = st.sets(st.integers(0, 59), min_size=1, max_size=3)
hours = st.sets(st.integers(0, 23), min_size=1, max_size=4)
steps = st.sampled_from([1, 7, 15, 20, 30])


def listed(values: set[int]) -> str:
    return ",".join(str(value) for value in sorted(values))


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone and two days in UTC around one of its clock changes."""
    zone = draw(st.sampled_from(ZONES))
    middle = utc(draw(st.sampled_from(CHANGES[zone])))
    start = middle + timedelta(minutes=draw(st.integers(-1440, 0)), seconds=draw(st.integers(0, 59)))
    return zone, start, middle + timedelta(days=1)


def fires_between(timetable: Timetable, start: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    for fire in timetable.fires_after(start):
        if fire >= end:
            break
        found.append(fire)
    return found


def every_minute(start: datetime, end: datetime) -> list[datetime]:
    first = start.replace(second=0) + MINUTE
    return [first + n * MINUTE for n in range(max(0, -((first - end) // MINUTE)))]


@given(window=windows(), step=steps, hour=st.none() | hours)
def test_wildcards_fire_at_every_real_minute_that_matches(
    window: tuple[str, datetime, datetime], step: int, hour: set[int] | None
) -> None:
    zone, start, end = window
    timetable = Timetable(cron=f"*/{step} {listed(hour) if hour else '*'} * * *", timezone=zone)

    expected = [
        moment
        for moment in every_minute(start, end)
        if (local := moment.astimezone(ZoneInfo(zone))).minute % step == 0 and (hour is None or local.hour in hour)
    ]

    assert fires_between(timetable, start, end) == expected


def first_moment(day: date, hour: int, minute: int, zone: ZoneInfo) -> datetime:
    """The first UTC moment whose local clock shows that time, or else the first one after the gap."""
    local = datetime.combine(day, time(hour, minute))
    while True:
        moment = local.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == local:
            return moment
        local += MINUTE


@given(window=windows(), minute=minutes, hour=hours)
def test_fixed_times_fire_once_a_local_day(window: tuple[str, datetime, datetime], minute: set[int], hour: set[int]) -> None:
    zone, start, end = window
    timetable = Timetable(cron=f"{listed(minute)} {listed(hour)} * * *", timezone=zone)

    days = [(start + timedelta(days=n)).date() for n in range(-1, 4)]
    moments = {first_moment(day, h, m, ZoneInfo(zone)) for day in days for h in hour for m in minute}

    assert fires_between(timetable, start, end) == sorted(m for m in moments if start < m < end)


@given(
    interval_s=st.floats(c.INTERVAL_MIN_S, 1e6),
    age_s=st.floats(-100, 1e8),
    anchor=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
)
def test_interval_stays_on_its_grid(interval_s: float, age_s: float, anchor: datetime) -> None:
    after = anchor + timedelta(seconds=age_s)
    fires = Timetable(interval_s=interval_s).next_fires(after, 5, anchor)
    step = timedelta(seconds=interval_s)

    assert all(later - earlier == step for earlier, later in pairwise(fires))
    assert all((fire - anchor) % step == timedelta() for fire in fires)
    assert fires[0] > after
    assert fires[0] - step <= max(after, anchor)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        (
            "0 9 13 * 5",
            at("2026-02-06T09:00", "2026-02-13T09:00", "2026-02-20T09:00", "2026-02-27T09:00", "2026-03-06T09:00"),
        ),
        (
            "0 9 1 * 1",
            at("2026-02-01T09:00", "2026-02-02T09:00", "2026-02-09T09:00", "2026-02-16T09:00", "2026-02-23T09:00"),
        ),
        (
            "0 9 */13 * 5",
            at("2026-02-27T09:00", "2026-03-27T09:00", "2026-05-01T09:00", "2026-08-14T09:00", "2026-11-27T09:00"),
        ),
        (
            "0 9 13 * *",
            at("2026-02-13T09:00", "2026-03-13T09:00", "2026-04-13T09:00", "2026-05-13T09:00", "2026-06-13T09:00"),
        ),
    ],
)
def test_a_day_of_the_month_and_a_weekday_mean_either_and_with_a_star_both(cron: str, expected: list[datetime]) -> None:
    assert Timetable(cron=cron).next_fires(utc("2026-02-01"), 5) == expected


@pytest.mark.parametrize(
    ("zone", "cron", "after", "expected"),
    [
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00", at("2026-10-03T15:30", "2026-10-04T15:15")),
        ("Africa/Casablanca", "30 2 * * *", "2026-02-14T12:00", at("2026-02-15T01:30", "2026-02-16T02:30")),
        ("Pacific/Apia", "0 12 * * *", "2011-12-29T00:00", at("2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00")),
        ("Antarctica/Troll", "30 2 * * *", "2026-03-28T12:00", at("2026-03-29T01:00", "2026-03-30T00:30")),
        ("Asia/Kathmandu", "0 0 * * *", "2026-01-01T00:00", at("2026-01-01T18:15", "2026-01-02T18:15")),
    ],
)
def test_odd_zones(zone: str, cron: str, after: str, expected: list[datetime]) -> None:
    """Half an hour of change, summer as the norm, a day that never was, two hours of change, a quarter of an hour off."""
    assert Timetable(cron=cron, timezone=zone).next_fires(utc(after), len(expected)) == expected


def test_next_fires_is_capped() -> None:
    assert len(Timetable(cron="* * * * *").next_fires(utc("2026-01-01"), 10**9)) == c.NEXT_FIRES_MAX


INVALID = [
    ("neither", {}, "cron"),
    ("both", {"cron": "* * * * *", "interval_s": 5}, "cron"),
    ("words", {"cron": "every day"}, "cron"),
    ("too few fields", {"cron": "* * *"}, "cron"),
    ("minute 60", {"cron": "60 * * * *"}, "cron"),
    ("empty", {"cron": ""}, "cron"),
    ("never", {"cron": "0 0 30 2 *"}, "cron"),
    ("long", {"cron": "0," * 200 + "0 * * * *"}, "cron"),
    ("unknown zone", {"cron": "* * * * *", "timezone": "Mars/Base"}, "timezone"),
    ("zone of a path", {"cron": "* * * * *", "timezone": "../../etc/passwd"}, "timezone"),
    ("folder of zones", {"cron": "* * * * *", "timezone": "America"}, "timezone"),
    ("empty zone", {"cron": "* * * * *", "timezone": ""}, "timezone"),
    ("NUL zone", {"cron": "* * * * *", "timezone": "UTC\x00"}, "timezone"),
    ("too short", {"interval_s": 0.5}, "interval_s"),
    ("nan", {"interval_s": float("nan")}, "interval_s"),
    ("infinite", {"interval_s": float("inf")}, "interval_s"),
]


@pytest.mark.parametrize(("options", "field"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_check_names_the_field(options: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        Timetable(**options).check()  # pyright: ignore[reportArgumentType]
    assert caught.value.code is Code.SCHEDULE_INVALID
    assert caught.value.details["field"] == field
    assert caught.value.details["reason"]


EACH_MINUTE, EACH_2S = Timetable(cron="* * * * *"), Timetable(interval_s=2)
DUE = [
    ("on time", EACH_MINUTE, "12:00:00", "12:00:00.3", 600, ["12:00:00"], 0, "12:01:00"),
    (
        "late: each one fires",
        EACH_2S,
        "12:00:00",
        "12:00:07",
        600,
        ["12:00:00", "12:00:02", "12:00:04", "12:00:06"],
        0,
        "12:00:08",
    ),
    ("late, no catch-up wanted: fires all the same", EACH_MINUTE, "12:00:00", "12:00:09", 0, ["12:00:00"], 0, "12:01:00"),
    ("missed within the window: the latest fires", EACH_MINUTE, "12:00:00", "12:05:30", 600, ["12:05:00"], 5, "12:06:00"),
    ("missed, none within the window", EACH_MINUTE, "12:00:00", "12:05:30", 20, [], 6, "12:06:00"),
    ("missed ones give way to a late one", EACH_MINUTE, "12:00:00", "12:05:05", 600, ["12:05:00"], 5, "12:06:00"),
    (
        "interval: missed ones are counted without a walk",
        EACH_2S,
        "00:00:00",
        "12:00:01",
        0,
        ["11:59:52", "11:59:54", "11:59:56", "11:59:58", "12:00:00"],
        21_596,
        "12:00:02",
    ),
    (
        "long ago: the latest of the window",
        Timetable(cron="0 3 * * *"),
        "03:00:00",
        "20:00:00",
        86_400,
        ["03:00:00"],
        0,
        "03:00:00",
    ),
]


@pytest.mark.parametrize(
    ("timetable", "first", "now", "catch_up_s", "fires", "missed", "following"),
    [case[1:] for case in DUE],
    ids=[case[0] for case in DUE],
)
def test_due(
    timetable: Timetable, first: str, now: str, catch_up_s: float, fires: list[str], missed: int, following: str
) -> None:
    due = timetable.due(utc(f"2026-01-01T{first}"), utc(f"2026-01-01T{now}"), catch_up_s)

    assert due.fires == [utc(f"2026-01-01T{fire}") for fire in fires]
    assert due.missed == missed
    assert due.next_fire_at is not None
    assert due.next_fire_at.time() == time.fromisoformat(following)
    assert due.next_fire_at > utc(f"2026-01-01T{now}")


def test_due_after_a_month_is_bounded() -> None:
    now = utc("2026-05-05T21:30")
    due = Timetable(cron="* * 0-20 * * *").due(now - timedelta(days=30), now, c.CATCH_UP_MAX_S)

    assert due.fires == [utc("2026-05-05T20:59:59")]
    assert due.missed == c.MISSED_COUNT_MAX - 1


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "Factory", "right/Europe/Berlin", "posix/Europe/Berlin"])
def test_zones_that_mean_another_thing_on_each_machine_are_refused_in_new_schedules(zone: str) -> None:
    with pytest.raises(InputError) as caught:
        Timetable("0 8 * * *", None, zone).check_new()
    assert caught.value.details["field"] == "timezone"
    Timetable("0 8 * * *", None, "Asia/Shanghai").check_new()
