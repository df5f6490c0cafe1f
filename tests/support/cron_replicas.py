"""Scheduler replicas that run the cron loop in processes of their own, to be killed."""

from __future__ import annotations

import asyncio
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

from taskmill.engine.periodic.cron import Cron
from taskmill.engine.periodic.looper import Looper
from tests.support.platforms import opened

# forkserver：真正的操作系统进程，但不必每次重新导入
CONTEXT = get_context("forkserver")


async def _run(database_url: str, broker_url: str) -> None:
    async with opened(database_url, broker_url) as platform:
        looper = Looper(Cron(platform.database, platform.submit))
        looper.loop.period_s = 0.05  # 越快越容易撞车
        looper.start()
        await asyncio.Event().wait()


def _main(database_url: str, broker_url: str) -> None:
    asyncio.run(_run(database_url, broker_url))


def start(database_url: str, broker_url: str) -> BaseProcess:
    """Start one replica; `kill` it (SIGKILL) and `join` it."""
    CONTEXT.set_forkserver_preload([__name__])
    process = CONTEXT.Process(target=_main, args=(database_url, broker_url), daemon=True)
    process.start()
    return process
