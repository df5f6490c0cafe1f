"""When a schedule fires: cron expressions in a time zone, or fixed intervals. Pure: no clock, no database.

What clock changes do to a cron expression (Debian cron's rules, by cronsim):

| minute and hour fields | local time skipped in spring | local time repeated in autumn |
|---|---|---|
| both fixed, such as `30 2 * * *` | fires once, at the first moment after the gap | fires once, the first time |
| one begins with `*`, such as `*/30 * * * *` | what does not exist does not fire | fires in both hours |

Six fields: the first is seconds, and the lower row holds. An interval counts from its anchor in real seconds; clock
changes do not touch it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from taskmill import bounds, reasons
from taskmill import constants as c
from taskmill.errors import Code, InputError
from taskmill.timetable.local_clock import fires_by_local_clock
from taskmill.words import Words

# 它们随机器而异（本地时区、占位），或含闰秒，与别处差二十几秒
MACHINE_ZONES = frozenset({"localtime", "posixrules", "Factory", "leapseconds"})
MACHINE_FOLDERS = ("right/", "posix/")
TICK = timedelta(microseconds=1)
DEBIAN_FIELDS = 5  # 五个字段且时、分都写死的，才照 Debian 的规矩补上被跳过的时刻
LOOKBACK_FACTOR = 4  # 找最近一次错过的触发时，每轮把回看范围放大几倍


@dataclass(frozen=True, slots=True)
class Due:
    """What to do about a schedule: times to fire now, how many are given up, and when it is due again (None: never)."""

    fires: list[datetime]
    missed: int
    next_fire_at: datetime | None


@dataclass(frozen=True, slots=True)
class Timetable:
    """A cron expression in a time zone, or an interval in seconds. All times in and out are aware; out is UTC."""

    cron: str | None = None
    interval_s: float | None = None
    timezone: str = "UTC"

    def check(self) -> None:
        """Raise InputError SCHEDULE_INVALID that names the field and the reason."""
        if (self.cron is None) == (self.interval_s is None):
            raise _refuse("cron", reasons.CRON_OR_INTERVAL)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise _refuse("timezone", reasons.NO_SUCH_ZONE(zone=repr(self.timezone))) from error
        if self.interval_s is not None:
            if (reason := bounds.INTERVAL_S.refusal(self.interval_s)) is not None:
                raise _refuse("interval_s", reason)
            return
        self._check_cron(self.cron or "")

    def check_new(self) -> None:
        """Raise InputError SCHEDULE_INVALID as `check` does, and for a zone that means another thing on another machine.

        A schedule that was stored with such a zone before goes on firing.
        """
        self.check()
        if self.timezone in MACHINE_ZONES or self.timezone.startswith(MACHINE_FOLDERS):
            raise _refuse("timezone", reasons.MACHINE_ZONE(zone=repr(self.timezone)))

    def _check_cron(self, cron: str) -> None:
        if len(cron) > c.CRON_MAX_CHARS:
            raise _refuse("cron", reasons.TOO_LONG(limit=c.CRON_MAX_CHARS))
        try:
            CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise _refuse("cron", reasons.NOT_CRON(error=error)) from error
        if next(self.fires_after(datetime(2000, 1, 1, tzinfo=UTC)), None) is None:
            raise _refuse("cron", reasons.NEVER_FIRES)

    def fires_after(self, after: datetime, anchor: datetime | None = None) -> Iterator[datetime]:
        """Yield the fires later than `after`, ascending. An interval is aligned to `anchor` (default: `after`)."""
        if self.interval_s is not None:
            return self._by_interval(after.astimezone(UTC), (anchor or after).astimezone(UTC), self.interval_s)
        return self._by_cron(after.astimezone(UTC), self.cron or "")

    @staticmethod
    def _by_interval(after: datetime, anchor: datetime, interval_s: float) -> Iterator[datetime]:
        step = timedelta(seconds=interval_s)
        number = max(0, (after - anchor) // step + 1)
        while True:
            yield anchor + number * step
            number += 1

    def _by_cron(self, after: datetime, cron: str) -> Iterator[datetime]:
        zone = ZoneInfo(self.timezone)
        fields = cron.split()
        if len(fields) != DEBIAN_FIELDS or fields[0].startswith("*") or fields[1].startswith("*"):
            yield from fires_by_local_clock(cron, after, zone)
            return
        last = after
        for local in CronSim(cron, after.astimezone(zone)):
            fire = local.astimezone(UTC)
            if fire > last:  # 从重复的那一小时里起步，cronsim 会给出已经过去的第一遍
                last = fire
                yield fire

    def next_fires(self, after: datetime, count: int, anchor: datetime | None = None) -> list[datetime]:
        """Return up to `count` (at most NEXT_FIRES_MAX) fires later than `after`."""
        return list(islice(self.fires_after(after, anchor), min(count, c.NEXT_FIRES_MAX)))

    def due(self, first: datetime, now: datetime, catch_up_s: float) -> Due:
        """Decide about the fires from `first` (the one that was expected next) up to `now`.

        Each fire that is at most CRON_LATE_S late is fired: that is a scheduler being slow. Of older ones, missed
        because no scheduler ran, only the latest is fired, if it is at most `catch_up_s` late and nothing newer fires.
        `missed` counts the others, at most MISSED_COUNT_MAX at a time for cron.
        """
        late = now - timedelta(seconds=c.CRON_LATE_S)
        coming = self.fires_after(max(first, late) - TICK, first)
        fires: list[datetime] = []
        upcoming = next(coming, None)
        while upcoming is not None and upcoming <= now:
            fires.append(upcoming)
            upcoming = next(coming, None)
        missed = self._count(first, late)
        if missed and not fires:
            latest = self._latest(first, late, now - timedelta(seconds=catch_up_s))
            fires = [latest] if latest is not None else []
            missed -= len(fires)
        return Due(fires, missed, upcoming)

    def _between(self, start: datetime, end: datetime, anchor: datetime) -> Iterator[datetime]:
        return takewhile(lambda fire: fire < end, self.fires_after(start - TICK, anchor))

    def _count(self, first: datetime, end: datetime) -> int:
        if first >= end:
            return 0
        if self.interval_s is not None:
            return -((first - end) // timedelta(seconds=self.interval_s))
        return sum(1 for _ in islice(self._between(first, end, first), c.MISSED_COUNT_MAX))

    def _latest(self, first: datetime, end: datetime, floor: datetime) -> datetime | None:
        """[max(first, floor), end) 中最后一次触发：从近处往回找，免得走完整个窗口。"""
        earliest = max(first, floor)
        width = timedelta(seconds=c.CRON_LATE_S)
        while True:
            start = max(earliest, end - width)
            found = list(self._between(start, end, first))
            if found or start == earliest:
                return found[-1] if found else None
            width *= LOOKBACK_FACTOR


def _refuse(field: str, reason: Words) -> InputError:
    return InputError(Code.SCHEDULE_INVALID, field=field, reason=reason)
