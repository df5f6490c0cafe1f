"""Series that charts show, computed once for all sessions: whoever asks for the same one a little later gets it too."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import UNSET

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.services.dashboard import constants as c
from taskmill.services.dashboard.kept import Kept
from taskmill.services.queues.series import Series, SeriesService, SeriesWindow

Asked = tuple[str | None, int]


class Trends:
    """The series of one queue or of all of them."""

    def __init__(self, service: SeriesService, clock: Clock = SYSTEM_CLOCK) -> None:
        self._service = service
        self._clock = clock
        self._kept: OrderedDict[Asked, Kept[Series]] = OrderedDict()

    async def get(self, minutes: int, queue: str | None = None) -> Series:
        """Return what finished in the last `minutes`, of all queues without one; the more it costs the longer it is kept."""
        return await self._place(minutes, queue).get()

    def _place(self, minutes: int, queue: str | None) -> Kept[Series]:
        asked = queue, minutes
        if (kept := self._kept.get(asked)) is None:
            window = SeriesWindow(minutes=minutes, queue=queue or UNSET)
            kept = Kept(lambda known: self._service.get(window, known), self._clock, lambda: c.SUMS_S)
            self._kept[asked] = kept
        self._kept.move_to_end(asked)
        if len(self._kept) > c.TRENDS_MAX:
            self._kept.popitem(last=False)  # 正在算的照样算完，只是下一个人要再算
        return kept
