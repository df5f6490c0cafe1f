"""Fires by the local clock of a time zone, found without ever handing a zoned time to cronsim.

cronsim 2.8 steps zoned times with `replace(minute=0)`; in an hour that the clock repeats this walks back in time, and
some expressions never end (`6,56 */3 * * *` in Pacific/Chatham in April 2027). Here cronsim sees naive times only: the
time line is cut where the offset of the zone changes, and within one piece local time is UTC plus a constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

DAY = timedelta(days=1)  # 没有哪个时区一天之内来回拨两次
SECOND = timedelta(seconds=1)


def fires_by_local_clock(cron: str, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield, ascending and in UTC, every moment later than `after` whose local time matches `cron`.

    Local times that the clock skips never match, repeated ones match twice. CronSimError if `cron` is malformed.
    """
    begin = (after.astimezone(UTC) + SECOND).replace(microsecond=0)
    while True:
        offset = _offset(begin, zone)
        end = begin
        for local in CronSim(cron, (begin - SECOND + offset).replace(tzinfo=None)):
            fire = (local - offset).replace(tzinfo=UTC)
            if fire >= end:
                end = _same_offset_until(end, fire + SECOND, zone, offset)
            if fire >= end:
                break  # 时钟在此之前拨过：换新的时差重新算
            yield fire
        else:
            return
        begin = end


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _same_offset_until(start: datetime, limit: datetime, zone: ZoneInfo, offset: timedelta) -> datetime:
    """从 `start` 起时差还是 `offset` 的一段到哪里为止，至多到 `limit`：逐日找到变化的那天，再二分到秒。"""
    before = start
    while before < limit:
        after = min(before + DAY, limit)
        if _offset(before, zone) != offset:
            return before
        if _offset(after, zone) != offset:
            return _change(before, after, zone, offset)
        before = after
    return limit


def _change(before: datetime, after: datetime, zone: ZoneInfo, offset: timedelta) -> datetime:
    while after - before > SECOND:
        middle = before + (after - before) // 2 // SECOND * SECOND
        before, after = (middle, after) if _offset(middle, zone) == offset else (before, middle)
    return after
