"""The end of the process for requests that still wait: an honest 503 instead of a torn connection.

Whoever's outcome is known by then gets it; for the others it is unknown, and that is what they are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from taskmill.api import constants as c
from taskmill.errors import Code, UnavailableError
from taskmill.log import get_logger

log = get_logger(__name__)


class Waiting(Protocol):
    """A request that is being answered."""

    async def refuse(self, error: UnavailableError) -> bool:
        """Answer with an error and drop what the application says later; False if it has answered by itself."""
        ...

    def abandon(self) -> None:
        """End the application's work on it."""
        ...


class Farewell:
    """The requests under way; `dismiss` ends them. `streams`: what ends answers that would go on for ever."""

    def __init__(self) -> None:
        self.waiting: set[Waiting] = set()
        self.streams: list[Callable[[], None]] = []

    def begin(self) -> None:
        """End the streams: nobody waits for their outcome, and the process would wait for them."""
        for end in self.streams:
            end()

    async def after(self, seconds: float) -> None:
        """Dismiss whoever still waits after so long."""
        await asyncio.sleep(seconds)
        await self.dismiss()

    async def dismiss(self) -> int:
        """Answer everybody who waits 503 SHUTTING_DOWN, end their work, and return how many there were."""
        # 结果已到、只差醒来的请求先答完
        for _ in range(c.FAREWELL_TURNS):
            await asyncio.sleep(0)
        left = list(self.waiting)
        if not left:
            return 0
        answered = await asyncio.gather(*(request.refuse(UnavailableError(Code.SHUTTING_DOWN)) for request in left))
        for request in left:
            request.abandon()
        log.warning("停止时还有请求没有结果，已答 503", count=sum(answered))
        return sum(answered)
