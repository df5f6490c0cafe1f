"""Series that charts show, computed once for all sessions: whoever asks for the same one a little later gets it too."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from msgspec import UNSET

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.services.dashboard import constants as c
from taskmill.services.queues.series import Series, SeriesService, SeriesWindow

Asked = tuple[str | None, int]


@dataclass(slots=True)
class _Kept:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    series: Series | None = None
    until: float = float("-inf")


class Trends:
    """The series of one queue or of all of them. One query for each at a time; the others wait for its answer."""

    def __init__(self, service: SeriesService, clock: Clock = SYSTEM_CLOCK) -> None:
        self._service = service
        self._clock = clock
        self._kept: OrderedDict[Asked, _Kept] = OrderedDict()

    async def get(self, minutes: int, queue: str | None = None) -> Series:
        """Return what finished in the last `minutes`, of all queues without one; the more it costs the longer it is kept."""
        kept = self._place((queue, minutes))
        async with kept.lock:
            if kept.series is None or self._clock.monotonic() >= kept.until:
                began = self._clock.monotonic()
                kept.series = await self._service.get(SeriesWindow(minutes=minutes, queue=queue or UNSET), kept.series)
                now = self._clock.monotonic()
                kept.until = now + max(c.SUMS_S, (now - began) * c.PULSE_COST_RATIO)
            return kept.series

    def _place(self, asked: Asked) -> _Kept:
        kept = self._kept.setdefault(asked, _Kept())
        self._kept.move_to_end(asked)
        if len(self._kept) > c.TRENDS_MAX:
            self._kept.popitem(last=False)  # 正在算的照样算完，只是下一个人要再算
        return kept
