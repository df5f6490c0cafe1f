"""The scheduler role: every periodic duty of the platform, in one process or in several at once."""

from __future__ import annotations

import asyncio

from taskmill import constants as c
from taskmill.engine.auditor import Auditor
from taskmill.engine.cron import Cron
from taskmill.engine.looper import Loop, Looper
from taskmill.engine.pruner import Pruner, PrunerConfig
from taskmill.engine.rescuer import Rescuer, RescuerConfig
from taskmill.engine.stager import Stager
from taskmill.log import get_logger
from taskmill.services.platform import Platform
from taskmill.services.schedule_sync import sync

log = get_logger(__name__)


class ScheduleSync:
    """Writes the plugins' schedules once; a loop, so that a database that is away at the start only delays it."""

    name = "schedule_sync"
    period_s = c.SYNC_RETRY_S

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._done = False

    async def run_once(self) -> dict[str, int]:
        """Sync unless that has succeeded before; returns what `sync` did."""
        if self._done:
            return {}
        counts = dict(await sync(self._platform.database, self._platform.host.registry))
        self._done = True
        return counts


def build_loops(platform: Platform) -> list[Loop]:
    """Return every duty of the scheduler, not started."""
    settings, database, tickets = platform.settings, platform.database, platform.tickets
    return [
        ScheduleSync(platform),
        Stager(database, tickets),
        Cron(database, platform.submit),
        Rescuer(database, RescuerConfig(lease_s=settings.lease_s), clock=platform.clock),
        Pruner(database, PrunerConfig(retention_days=settings.history_retention_days)),
        Auditor(database, tickets, clock=platform.clock),
    ]


async def run_scheduler(platform: Platform, stop: asyncio.Event) -> None:
    """Run all loops until `stop` is set, then end each after its current round, at most SHUTDOWN_GRACE_S later."""
    loopers = [Looper(loop) for loop in build_loops(platform)]
    for looper in loopers:
        looper.start()
    log.info("调度器已启动", loops=[looper.loop.name for looper in loopers])
    try:
        await stop.wait()
    finally:
        try:
            await asyncio.wait_for(asyncio.gather(*(looper.stop() for looper in loopers)), c.SHUTDOWN_GRACE_S)
        except TimeoutError:
            log.warning("有循环未能及时结束，已取消")
        log.info("调度器已停止")
