"""A real worker and a real scheduler in the loop of a test, for the kinds and plugins that the test names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from taskmill.engine.periodic.scheduler import build_loopers
from taskmill.engine.periodic.stager import Stager
from taskmill.engine.worker import WorkerRole
from taskmill.plugin.definition import TaskDefinition
from taskmill.services.kinds import publish
from taskmill.services.platform import Platform
from taskmill.services.setup import migrate_up
from taskmill.settings import load_settings
from taskmill.stores.tasks import due
from taskmill.testing import constants as c
from taskmill.testing.databases import opened
from taskmill.testing.kinds import host_of


class RunningWorker:
    """A worker at work. `platform` has the services of its process, for what the door does not show."""

    def __init__(self, platform: Platform, role: WorkerRole) -> None:
        self.platform = platform
        self._role = role

    async def idle(self, timeout_s: float = c.SERVERS_SETTLE_S) -> None:
        """Wait until nothing runs and nothing is due that this worker serves.

        What waits for a later time is left. TimeoutError says how many are left after `timeout_s` seconds.
        """
        until = time.monotonic() + timeout_s
        served = self._role.process.served
        while left := await due.count(self.platform.database.pool, served):
            if time.monotonic() >= until:
                message = f"{left} tasks are due or running after {timeout_s:g} s"
                raise TimeoutError(message)
            await asyncio.sleep(c.IDLE_POLL_S)


@asynccontextmanager
async def working(
    tasks: Sequence[TaskDefinition[..., Any]],
    plugins: Sequence[object] = (),
    env: Mapping[str, str] | None = None,
    *,
    database_url: str,
    broker_url: str,
    concurrency: int = c.WORKER_CONCURRENCY,
    queues: Sequence[str] = (),
    **settings: Any,
) -> AsyncIterator[RunningWorker]:
    """Migrate the plugins' tables, publish the kinds, and run what is due until the block ends.

    `settings` are those of `taskmill.settings.Settings`. At the end attempts that still run are cut off and handed back.
    """
    configured = load_settings(database_url=database_url, broker_url=broker_url, **settings)
    host = host_of(tasks, plugins, env or {}, configured)
    if migrations := host.migrations():
        await migrate_up(database_url, plugins=migrations)
    platform = await Platform.open(configured, host)
    loopers = build_loopers(platform)
    for looper in loopers:
        if isinstance(looper.loop, Stager):
            looper.loop.period_s = c.STAGER_PERIOD_S  # 测试等不起生产环境的一轮
    role = WorkerRole(platform, queues, concurrency)
    stop, now = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(role.run(stop, now), name="test-worker")
    try:
        for looper in loopers:
            looper.start()
        await _ready(role, running)
        yield RunningWorker(platform, role)
    finally:
        now.set()
        stop.set()
        await asyncio.gather(running, *(looper.stop() for looper in loopers))
        await platform.close()


async def publish_kinds(
    database_url: str, tasks: Sequence[TaskDefinition[..., Any]], plugins: Sequence[object], env: Mapping[str, str]
) -> None:
    """Publish kinds as a worker does at its start, so that they can be submitted while nobody runs them."""
    host = host_of(tasks, plugins, env, load_settings(database_url=database_url))
    async with opened(database_url) as database:
        await publish(database, host.registry)


async def _ready(role: WorkerRole, running: asyncio.Task[int]) -> None:
    """起不来就说为什么，不要一直等。"""
    ready = asyncio.create_task(role.ready.wait())
    try:
        await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        ready.cancel()
