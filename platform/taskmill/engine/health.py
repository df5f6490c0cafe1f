"""The health endpoint of a worker: `/healthz`, `/readyz`, `/metrics`, on a thread of its own.

Live means that reading and renewing were *tried* lately, not that they succeeded: while PostgreSQL or Valkey is away the
worker keeps running what it has and waits, and a restart would only interrupt that. A handler that blocks the main loop
stops the turns of reading; after WORKER_LIVE_S a restart is the only cure. A process that starts lives: plugins may take as
long as their budget says, and the wait for PostgreSQL has a limit of its own. Ready never depends on load: it is false until
reading has begun, while a plugin asked for by name is not up, after an order to drain once nothing is in flight, and after SIGTERM.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from taskmill.engine import constants as c
from taskmill.engine.telemetry import WorkerTelemetry
from taskmill.serving.endpoint import Endpoint, listening
from taskmill.settings import Settings
from taskmill.telemetry import Attempts


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a worker is; times are monotonic. `turn_at`: reading last came round; `tried_at`: the last try to renew.

    `wanting`: plugins asked for by name that are not up, with their words.
    """

    turn_at: float
    tried_at: float
    renewed_at: float | None
    ready: bool
    draining: bool
    cordoned: bool
    slots: int
    running: int
    claimed: int
    settled: int
    unsettled: int
    paused: int
    abandoned: int = 0
    wanting: Mapping[str, str] = field(default_factory=dict[str, str])

    def stuck(self, now: float) -> str | None:
        """Return what has not been tried for too long, None if the worker lives."""
        for what, at in (("read", self.turn_at), ("lease", self.tried_at)):
            if now - at > c.WORKER_LIVE_S:
                return f"{what} {now - at:.0f} s"
        return None

    def metrics(self, now: float) -> dict[str, float]:
        """Return the values of the metrics by name."""
        values: dict[str, float] = {
            "slots": self.slots,
            "running": self.running,
            "unsettled": self.unsettled,
            "claimed_total": self.claimed,
            "settled_total": self.settled,
            "paused_queues": self.paused,
            "cordoned": self.cordoned,
            "draining": self.draining,
            "ready": self.ready,
            "abandoned": self.abandoned,
        }
        if self.renewed_at is not None:
            values["lease_age_seconds"] = now - self.renewed_at
        return {f"taskmill_worker_{name}": float(value) for name, value in values.items()}


def starting() -> Vitals:
    """Return how a process is whose plugins are on their way up: alive, and not ready."""
    now = time.monotonic()
    return Vitals(
        turn_at=now,
        tried_at=now,
        renewed_at=None,
        ready=False,
        draining=False,
        cordoned=False,
        slots=0,
        running=0,
        claimed=0,
        settled=0,
        unsettled=0,
        paused=0,
    )


def told(wanting: Mapping[str, str]) -> str:
    """Return what plugins that are not up say, to stand behind the verdict; empty without."""
    return "".join(f"; plugin {name}: {words}" for name, words in sorted(wanting.items()))


class HealthApp(Endpoint):
    """The ASGI application; it only looks at the vitals, so that an answer costs the worker nothing."""

    def __init__(self, vitals: Callable[[], Vitals] = starting, attempts: Callable[[], Attempts] = dict) -> None:
        self._vitals, self._attempts = vitals, attempts
        self._telemetry = WorkerTelemetry(lambda: self._vitals().metrics(time.monotonic()), self._counts)

    def attend(self, vitals: Callable[[], Vitals], attempts: Callable[[], Attempts]) -> None:
        """Speak for the worker whose vitals and attempts these are, from now on."""
        self._vitals, self._attempts = vitals, attempts

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path == "/metrics":
            return 200, self._telemetry.render()
        vitals = self._vitals()
        if path == "/healthz":
            stuck = vitals.stuck(time.monotonic())
            return (200, b"ok\n") if stuck is None else (503, f"stuck: {stuck}\n".encode())
        if path == "/readyz":
            return (200, b"ready\n") if vitals.ready else (503, f"not ready{told(vitals.wanting)}\n".encode())
        return 404, b"/healthz /readyz /metrics\n"

    def _counts(self) -> Attempts:
        return self._attempts()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[HealthApp]:
    """Serve during the block if a port is set, and give what answers; SetupError CONFIG_INVALID if it cannot be bound."""
    app, port = HealthApp(), settings.worker_health_port
    async with listening(app, settings.bind_host, port, "TASKMILL_WORKER_HEALTH_PORT"):
        yield app
