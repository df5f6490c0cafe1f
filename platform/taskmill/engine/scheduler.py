"""The scheduler role: every periodic duty of the platform, in one process or in several at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

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
from taskmill.serving.endpoint import Endpoint, listening
from taskmill.telemetry import LoopFacts, SchedulerTelemetry

log = get_logger(__name__)


class SchedulerHealth(Endpoint):
    """`/healthz` and `/metrics` of a scheduler. Live: every loop has come round lately, whether it succeeded or not."""

    def __init__(self, loopers: Sequence[Looper]) -> None:
        self._loopers = loopers
        self._telemetry = SchedulerTelemetry(self._facts)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path == "/metrics":
            return 200, self._telemetry.render()
        if path == "/healthz":
            now = time.monotonic()
            stuck = [x.loop.name for x in self._loopers if now - x.last_turn > x.loop.period_s + c.LOOP_LIVE_S]
            return (503, f"stuck: {', '.join(stuck)}\n".encode()) if stuck else (200, b"ok\n")
        return 404, b"/healthz /metrics\n"

    def _facts(self) -> list[LoopFacts]:
        now = time.monotonic()
        return [
            LoopFacts(x.loop.name, dict(x.done), x.failures, None if x.last_success is None else now - x.last_success)
            for x in self._loopers
        ]


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
    """Run all loops until `stop` is set, then end each after its current round, at most SHUTDOWN_GRACE_S later.

    SetupError CONFIG_INVALID if the port of the health endpoint is taken.
    """
    loopers = [Looper(loop) for loop in build_loops(platform)]
    settings = platform.settings
    app, port = SchedulerHealth(loopers), settings.scheduler_health_port
    async with listening(app, settings.bind_host, port, "TASKMILL_SCHEDULER_HEALTH_PORT"):
        await _run(loopers, stop)


async def _run(loopers: list[Looper], stop: asyncio.Event) -> None:
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
