"""Scheduler replicas that run the cron loop in processes of their own, to be killed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from taskmill.engine.periodic.cron import Cron
from taskmill.engine.periodic.looper import Looper
from tests.support.platforms import opened

# forkserver：真正的操作系统进程，但不必每次重新导入
CONTEXT = get_context("forkserver")


async def _run(database_url: str, broker_url: str, up: Event) -> None:
    async with opened(database_url, broker_url) as platform:
        looper = Looper(Cron(platform.database, platform.submit))
        looper.loop.period_s = 0.05  # 越快越容易撞车
        looper.start()
        up.set()
        await asyncio.Event().wait()


def _main(database_url: str, broker_url: str, up: Event) -> None:
    asyncio.run(_run(database_url, broker_url, up))


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica; `kill` it (SIGKILL) and `join` it."""

    process: BaseProcess
    _up: Event

    async def up(self) -> None:
        """Wait until it loops: on a busy machine that takes longer than it may live."""
        assert await asyncio.to_thread(self._up.wait, 60), "a replica did not start"

    def end(self) -> None:
        """Kill it and wait for its end."""
        self.process.kill()
        self.process.join()


def start(database_url: str, broker_url: str) -> Replica:
    """Start one replica."""
    CONTEXT.set_forkserver_preload([__name__])
    up = CONTEXT.Event()
    process = CONTEXT.Process(target=_main, args=(database_url, broker_url, up), daemon=True)
    process.start()
    return Replica(process, up)
