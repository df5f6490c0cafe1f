"""A dear answer, computed once for all who ask, and computed anew while they still get the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from taskmill.clock import Clock
from taskmill.log import get_logger
from taskmill.services.dashboard import constants as c
from taskmill.services.faults import translate, why

T = TypeVar("T")
log = get_logger(
    __name__,
    {
        "合计没能更新，先用上一次的": "the sums were not renewed, the last ones are shown",
        "更新合计时出错": "renewing the sums failed",
    },
)


class Kept(Generic[T]):
    """The answer of `compute`, good for `least_s` seconds and for PULSE_COST_RATIO times what it cost.

    For as long again whoever asks gets it at once and lets it be computed anew; who comes later waits for a new one. One
    computation at a time. `compute` gets the last answer, None at first.
    """

    def __init__(self, compute: Callable[[T | None], Awaitable[T]], clock: Clock, least_s: Callable[[], float]) -> None:
        self._compute = compute
        self._clock = clock
        self._least_s = least_s
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._good_until = self._until = float("-inf")
        self._renewal: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """Compute anew at the next question: somebody changed something and wants to see it."""
        self._good_until = self._until = float("-inf")

    async def get(self) -> T:
        """Return the answer. Errors: those of `compute`, once the last answer is too old."""
        now = self._clock.monotonic()
        if self._value is None or now >= self._until:
            await self._renewed()
        elif now >= self._good_until and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renewed(), name="kept")
            self._renewal.add_done_callback(_told)
        assert self._value is not None  # noqa: S101 - 算过了
        return self._value

    async def _renewed(self) -> None:
        async with self._lock:
            began = self._clock.monotonic()
            if self._value is not None and began < self._good_until:
                return  # 等的时候别人算好了
            self._value = await self._compute(self._value)
            now = self._clock.monotonic()
            good_s = max(self._least_s(), (now - began) * c.PULSE_COST_RATIO)
            self._good_until, self._until = now + good_s, now + 2 * good_s


def _told(renewal: asyncio.Task[None]) -> None:
    """没有人等着它：错误写进日志；再旧下去，下一个来问的自己会碰上。"""
    if renewal.cancelled() or (error := renewal.exception()) is None:
        return
    if (known := translate(error)) is None:
        log.error("更新合计时出错", exc_info=error)
    else:
        log.warning("合计没能更新，先用上一次的", error=why(known))
