"""A stream of naps under which something happens, and the verdict on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from tests.cluster.replay import Outcome, all_ended, opened, outcome, submit

NAPS_MS, EVERY_S = (300, 2_500), 0.5  # 每半秒一短一长：任何时刻都有任务在跑


@asynccontextmanager
async def load(database_url: str, broker_url: str, queue: str) -> AsyncIterator[list[UUID]]:
    """Submit tasks all the while; the list fills."""
    ids: list[UUID] = []

    async def forever() -> None:
        while True:
            ids.extend(await submit(platform, queue, NAPS_MS))
            await asyncio.sleep(EVERY_S)

    async with opened(database_url, broker_url) as platform:
        task = asyncio.create_task(forever())
        try:
            yield ids
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def judged(database_url: str, ids: list[UUID]) -> Outcome:
    """Wait for all tasks and insist that each ran once."""
    await all_ended(database_url, ids, timeout=120)
    found = await outcome(database_url, ids)
    assert found.tasks > 20
    assert (found.lost, found.again, found.causes) == (0, 0, {})
    return found
