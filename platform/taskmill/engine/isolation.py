"""Isolation: a suspect (two workers have died under it) runs alone, so that only its own crash can be its third."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from taskmill.engine import constants as c
from taskmill.engine.attempts.slots import Slots
from taskmill.engine.backoff import Backoff
from taskmill.log import get_logger

log = get_logger(__name__)


class Isolation:
    """Empties one worker for a suspect: nothing more is read until what runs has ended.

    That may take as long as the longest task, so patience is bounded, and doubled with each vain wait. After a vain wait the
    worker works as usual for twice as long as it waited, after a suspect as long as that one ran, so that many suspects
    cannot shut out everybody else. A suspect that is refused goes to another worker or comes back.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._patience = Backoff(c.ISOLATION_S, c.ISOLATION_MAX_S)
        self._not_before = 0.0

    @asynccontextmanager
    async def alone(self, ended: Callable[[], bool]) -> AsyncIterator[bool]:
        """Say whether the worker is empty; during the block nothing else is read or claimed. `ended` cuts the wait short."""
        slots = self._slots
        # 另一个读取者正在腾就不等它：它也在等我们
        if slots.isolating or slots.suspect is not None or time.monotonic() < max(self._not_before, slots.common_until):
            yield False
            return
        slots.isolating = True
        try:
            yield await self._emptied(ended)
        finally:
            slots.isolating = False
            slots.free.set()

    async def _emptied(self, ended: Callable[[], bool]) -> bool:
        began = time.monotonic()
        if self._others():
            log.info(
                "腾空工作进程，好让可疑任务独自运行", running=len(self._slots.running), patience_s=self._patience.next_s
            )
        while self._others():
            waited = time.monotonic() - began
            if ended() or waited > self._patience.next_s:
                self._not_before = time.monotonic() + 2 * waited
                self._patience.grow()
                log.info("没能腾空，可疑任务另寻时机", waited_s=round(waited, 1), running=len(self._slots.running))
                return False
            await asyncio.sleep(c.ISOLATION_POLL_S)
        self._patience.reset()
        return True

    def _others(self) -> bool:
        """自己手里的，和另一个读取者正在读、正在领的。"""
        return not self._slots.empty or self._slots.reading > 1
