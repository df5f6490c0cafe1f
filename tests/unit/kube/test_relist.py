"""When everything is listed: at first, every five minutes, and when the watch layer has lost its place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskmill import constants as c
from taskmill.clock import FakeClock
from taskmill.kube import kinds as k
from taskmill.kube.kinds import Kind
from taskmill.kube.relist import Relister


class Lists:
    """Counts the lists; there is nothing but Deployments."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def list(self, kind: Kind, _namespace: str) -> tuple[list[Any], str]:
        self.asked.append(kind.kind)
        return [{}] if kind is k.DEPLOYMENT else [], "1"


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "again"), [(k.DEPLOYMENT, False), (k.TASK_QUEUE, True)])
async def test_a_kind_that_was_empty_at_the_start_is_listed_again_when_it_is_told_of(kind: Kind, again: bool) -> None:
    lists, clock, stop = Lists(), FakeClock(), asyncio.Event()
    client: Any = lists
    relister = Relister(client, ("ns",), lambda *_: None, lambda: None, clock)
    await relister.run_once()
    lists.asked.clear()
    running = asyncio.create_task(relister.run(stop))
    relister.listed(kind)
    for _ in range(100):
        await asyncio.sleep(0)
    stop.set()
    await running
    assert bool(lists.asked) is again


@pytest.mark.anyio
async def test_a_second_listing_of_the_watch_layer_has_everything_listed() -> None:
    lists, clock, stop = Lists(), FakeClock(), asyncio.Event()
    client: Any = lists
    relister = Relister(client, ("ns",), lambda *_: None, lambda: None, clock)
    running = asyncio.create_task(relister.run(stop))
    relister.listed(k.DEPLOYMENT)
    relister.listed(k.DEPLOYMENT)  # 同一次列表里的下一个对象
    relister.listed(k.TASK_QUEUE)
    await asyncio.sleep(0)
    assert lists.asked == []
    clock.advance(c.KUBE_LISTING_S + 1)
    relister.listed(k.DEPLOYMENT)
    async with asyncio.timeout(5):
        while len(lists.asked) < len(k.WATCHED):
            await asyncio.sleep(0)
    relister.listed(k.DEPLOYMENT)
    await asyncio.sleep(0)
    stop.set()
    await running
    assert sorted(lists.asked) == sorted(kind.kind for kind in k.WATCHED)
