"""Who may act, and what becomes of the work while nobody may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.leadership import Leadership
from taskmill.kube.loop.workers import work
from taskmill.kube.loop.workqueue import WorkQueue
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
KEY, OTHER = Key.queue("ns", "emails"), Key.queue("ns", "other")


async def at_once() -> None:
    """Get to know nobody."""


@asynccontextmanager
async def working(
    queue: WorkQueue[Key], leadership: Leadership, one_round: Callable[[Key], Awaitable[None]]
) -> AsyncIterator[None]:
    task = asyncio.create_task(work(queue, leadership, one_round))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def never(key: Key) -> None:
    raise AssertionError(key)


@pytest.mark.parametrize("leading", [True, False])
async def test_a_leader_whose_renewal_is_late_keeps_its_keys(*, leading: bool) -> None:
    queue, leadership = WorkQueue[Key](), Leadership(at_once, lambda: None)
    leadership.lead(leading)
    queue.add(KEY)
    async with working(queue, leadership, never):
        await eventually(lambda: queue.idle)
    # 备用副本不用记：它当上主控时所有键都会再来一遍
    assert (queue.ripen() is not None) is leading


async def test_a_worker_outlives_any_error() -> None:
    queue, leadership, seen = WorkQueue[Key](), Leadership(at_once, lambda: 1), list[Key]()

    async def wrong(key: Key) -> None:
        seen.append(key)
        raise LookupError

    leadership.lead(leading=True)
    await eventually(lambda: leadership.acts)
    queue.add(KEY)
    queue.add(OTHER)
    async with working(queue, leadership, wrong):
        await eventually(lambda: queue.idle)
    assert seen == [KEY, OTHER]
    assert queue.ripen() is not None  # 都约好了再来


async def test_who_leads_again_gets_to_know_everybody_anew() -> None:
    known = asyncio.Event()

    async def begin() -> None:
        await known.wait()

    leadership = Leadership(begin, lambda: 1)
    leadership.lead(leading=True)
    assert (leadership.elected, leadership.acts) == (True, False)
    known.set()
    await eventually(lambda: leadership.acts)
    leadership.lead(leading=False)
    assert (leadership.elected, leadership.acts) == (False, False)
    known.clear()
    leadership.lead(leading=True)
    await asyncio.sleep(0)
    assert not leadership.acts
    leadership.lead(leading=False)
