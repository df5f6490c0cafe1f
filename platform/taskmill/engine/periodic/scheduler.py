"""The scheduler role: every periodic duty of the platform, in one process or in several at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from taskmill.constants import LOGIN_REFUSED_S
from taskmill.engine import constants as c
from taskmill.engine.periodic.auditor import Auditor
from taskmill.engine.periodic.cron import Cron
from taskmill.engine.periodic.key_guard import KeyGuard
from taskmill.engine.periodic.limiter import Limiter
from taskmill.engine.periodic.lookout import Lookout
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.periodic.presence import Presence
from taskmill.engine.periodic.pruner import Pruner, PrunerConfig
from taskmill.engine.periodic.releaser import Releaser
from taskmill.engine.periodic.rescuer import Rescuer, RescuerConfig
from taskmill.engine.periodic.stager import Stager
from taskmill.engine.periodic.telemetry import LoopFacts, SchedulerTelemetry
from taskmill.engine.tally import Tally
from taskmill.log import get_logger
from taskmill.services.platform import Platform
from taskmill.services.schedules.sync import sync
from taskmill.serving.endpoint import Endpoint, listening

log = get_logger(__name__)


class SchedulerHealth(Endpoint):
    """`/healthz`, `/readyz` and `/metrics` of a scheduler.

    Live: every loop has come round lately, whether it succeeded or not, and PostgreSQL has not refused the login for
    LOGIN_REFUSED_S: then only a restart reads the new password. Ready: every loop has succeeded lately, and every plugin
    asked for by name is up (`wanting` are those that are not): nobody else brings their schedules.
    """

    def __init__(
        self,
        loopers: Sequence[Looper],
        tally: Tally | None = None,
        refused_s: Callable[[], float] = lambda: 0.0,
        wanting: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._loopers, self._refused_s, self._wanting = loopers, refused_s, wanting
        counted = tally or Tally()
        self._telemetry = SchedulerTelemetry(self._facts, lambda: counted.counts)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path == "/metrics":
            return 200, self._telemetry.render()
        if path == "/healthz":
            if self._refused_s() > LOGIN_REFUSED_S:
                return 503, f"login refused: {self._refused_s():.0f} s\n".encode()
            stuck = self.stuck()
            return (503, f"stuck: {', '.join(stuck)}\n".encode()) if stuck else (200, b"ok\n")
        if path == "/readyz":
            failing = [*self.failing(), *(f"plugin {name}: {words}" for name, words in sorted(self._wanting().items()))]
            return (503, f"failing: {', '.join(failing)}\n".encode()) if failing else (200, b"ready\n")
        return 404, b"/healthz /readyz /metrics\n"

    def failing(self) -> list[str]:
        """Return the names of the loops that have not succeeded lately."""
        now = time.monotonic()
        return [
            x.loop.name
            for x in self._loopers
            if x.last_success is None or now - x.last_success > x.loop.period_s + c.LOOP_READY_S
        ]

    def stuck(self) -> list[str]:
        """Return the names of the loops that no longer come round."""
        now = time.monotonic()
        return [x.loop.name for x in self._loopers if now - x.last_turn > x.loop.period_s + c.LOOP_LIVE_S]

    def _facts(self) -> list[LoopFacts]:
        now = time.monotonic()
        return [
            LoopFacts(x.loop.name, dict(x.done), x.failures, None if x.last_success is None else now - x.last_success)
            for x in self._loopers
        ]


class ScheduleSync:
    """Writes the plugins' schedules once; a loop, so that a database that is away at the start only delays it, or a slow plugin."""

    name = "schedule_sync"
    period_s = c.SYNC_RETRY_S

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._done = False

    async def run_once(self) -> dict[str, int]:
        """Sync unless that has succeeded before; returns what `sync` did."""
        if self._platform.host.arrive():
            self._done = False
        if self._done:
            return {}
        counts = dict(await sync(self._platform.database, self._platform.host.registry))
        self._done = True
        return counts


def build_loopers(platform: Platform, tally: Tally | None = None) -> list[Looper]:
    """Return every duty of the scheduler, not started; `tally` counts the tasks that they end.

    The stager looks for those whose work others may add at any moment, and wakes them.
    """
    settings, database, tickets = platform.settings, platform.database, platform.tickets
    lookout = Lookout(database, clock=platform.clock)
    cron = Looper(Cron(database, platform.submit, lookout=lookout))
    limiter = Looper(Limiter(database, platform.promoter, lookout=lookout))
    releaser = Looper(Releaser(database, platform.releaser, clock=platform.clock, lookout=lookout))
    lookout.wake(lambda seen: seen.fires, cron.wake)
    lookout.wake(lambda seen: seen.unlined or (seen.held and bool(seen.lanes)), limiter.wake)
    lookout.wake(lambda seen: seen.pending, releaser.wake)
    rescuer = Rescuer(
        database,
        RescuerConfig(lease_s=settings.lease_s),
        clock=platform.clock,
        tally=tally,
        freed=platform.promoter.soon,
        released=platform.releaser.released,
        failed=platform.failures.note,
    )
    return [
        Looper(ScheduleSync(platform)),
        Looper(KeyGuard(database, tickets)),  # 在 stager 之前：它清出地方，stager 才能重建
        Looper(Stager(database, tickets, tally=tally, released=platform.releaser.released, lookout=lookout)),
        cron,
        Looper(rescuer),
        limiter,
        releaser,
        Looper(Pruner(database, PrunerConfig(retention_days=settings.history_retention_days))),
        Looper(Auditor(database, tickets, clock=platform.clock)),
    ]


async def run_scheduler(platform: Platform, stop: asyncio.Event) -> None:
    """Run all loops until `stop` is set, then end each after its current round, at most SHUTDOWN_GRACE_S later.

    SetupError CONFIG_INVALID if the port of the health endpoint is taken.
    """
    tally = Tally()
    loopers = build_loopers(platform, tally)
    settings = platform.settings
    app = SchedulerHealth(loopers, tally, lambda: platform.database.login.refused_s, platform.host.wanting)
    port = settings.scheduler_health_port
    presence = Presence(platform.database, app.stuck)
    async with listening(app, settings.bind_host, port, "TASKMILL_SCHEDULER_HEALTH_PORT"):
        if await _run([*loopers, Looper(presence)], stop):
            await presence.leave()


async def _run(loopers: list[Looper], stop: asyncio.Event) -> bool:
    """Return whether every loop ended in time; if not, a server hangs."""
    for looper in loopers:
        looper.start()
    log.info("调度器已启动", loops=[looper.loop.name for looper in loopers])
    try:
        await stop.wait()
    finally:
        in_time = all(await asyncio.gather(*(looper.stop() for looper in loopers)))
        if not in_time:
            log.warning("有循环未能及时结束，已取消")
        log.info("调度器已停止")
    return in_time
