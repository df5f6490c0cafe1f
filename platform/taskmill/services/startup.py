"""Patience at the start: a role that finds PostgreSQL away waits for a bounded time, and says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from taskmill.errors import TaskmillError, UnavailableError
from taskmill.log import get_logger
from taskmill.services import constants as c
from taskmill.stores.faults import hopeless, translate

log = get_logger(__name__)
T = TypeVar("T")


async def patiently(work: Callable[[], Awaitable[T]], seconds: float, stop: asyncio.Event | None = None) -> T:
    """Call `work` again while PostgreSQL does not answer, for at most `seconds`; ends early once `stop` is set.

    Raises the last error: UnavailableError DATABASE_UNAVAILABLE. What no waiting mends (a wrong password, a database that
    does not exist, any other error) is raised at once.
    """
    began, delay = time.monotonic(), c.STARTUP_RETRY_S
    while True:
        try:
            return await work()
        except Exception as error:
            known = error if isinstance(error, TaskmillError) else translate(error)
            left = seconds - (time.monotonic() - began)
            if not isinstance(known, UnavailableError) or hopeless(error) or left <= 0 or (stop and stop.is_set()):
                raise
            log.warning(
                "PostgreSQL 连接不上，稍后再试", reason=str(known.details.get("reason")), gives_up_in_s=round(left, 1)
            )
        await _pause(min(delay, left), stop)
        delay = min(delay * 2, c.STARTUP_RETRY_MAX_S)


async def _pause(seconds: float, stop: asyncio.Event | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await (stop or asyncio.Event()).wait()
    except TimeoutError:
        return
