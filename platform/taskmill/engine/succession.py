"""A worker that begins anew in its own process once a plugin that was not up has come up."""

from __future__ import annotations

import asyncio

from taskmill.engine import constants as c
from taskmill.engine.health import HealthApp
from taskmill.engine.worker import WorkerRole
from taskmill.log import get_logger
from taskmill.services import kinds
from taskmill.services.faults import translate
from taskmill.services.platform import Platform
from taskmill.services.plugin_stock import take_stock
from taskmill.stores.why import why

log = get_logger(__name__)


async def run_worker(
    platform: Platform, stop: asyncio.Event, now: asyncio.Event | None = None, health: HealthApp | None = None
) -> None:
    """Run a worker until `stop`; it drains and begins anew with each plugin that comes up later. Errors as of `WorkerRole.run`."""
    settings = platform.settings
    while not stop.is_set():
        turn = asyncio.Event()
        watching = asyncio.create_task(_watch(platform, stop, turn), name="plugin-watch")
        try:
            await WorkerRole(platform, settings.queues, settings.concurrency).run(turn, now, health)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _watch(platform: Platform, stop: asyncio.Event, turn: asyncio.Event) -> None:
    """停机，或者等着的插件起来了，这一任就该结束。"""
    came: list[str] = []
    while not stop.is_set():
        try:
            async with asyncio.timeout(c.PLUGIN_LOOK_S if platform.host.waiting or came else None):
                await stop.wait()
        except TimeoutError:
            came += await _look(platform)
            if came and await _published(platform):
                log.warning("等着的插件起来了，收尾后重新开始", plugins=came)
                break
    turn.set()


async def _look(platform: Platform) -> list[str]:
    try:
        return await take_stock(platform.database.url, platform.host)
    except Exception as error:
        # 守着插件的任务停了，插件就再也起不来
        log.warning("没能查看等着的插件，稍后再看", error=why(error), exc_info=translate(error) is None)
        return []


async def _published(platform: Platform) -> bool:
    try:
        await kinds.publish(platform.database, platform.host.registry)
    except Exception as error:
        log.warning("没能查看等着的插件，稍后再看", error=why(error), exc_info=translate(error) is None)
        return False
    return True
