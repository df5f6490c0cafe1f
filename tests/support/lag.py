"""How long the event loop was kept busy in one piece: the time in which nothing else of the process could run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_TICK_S = 0.001


@dataclass
class Lag:
    """`longest_s`: most CPU seconds that the loop's thread spent between two ticks; other programs don't count."""

    longest_s: float = 0.0


@asynccontextmanager
async def loop_lag() -> AsyncIterator[Lag]:
    """Measure while the block runs."""
    lag = Lag()
    last = time.thread_time()

    def tick() -> None:
        nonlocal last
        now = time.thread_time()
        lag.longest_s, last = max(lag.longest_s, now - last), now

    async def watch() -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            tick()

    watcher = asyncio.ensure_future(watch())
    await asyncio.sleep(_TICK_S)
    try:
        yield lag
    finally:
        watcher.cancel()
        tick()  # 最后一段也算
