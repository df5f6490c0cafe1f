"""The health endpoint of a worker: `/healthz`, `/readyz`, `/metrics`, on a thread of its own.

Live means that reading and renewing were *tried* lately, not that they succeeded: while PostgreSQL or Valkey is away the
worker keeps running what it has and waits, and a restart would only interrupt that. A handler that blocks the main loop
stops the turns of reading; after WORKER_LIVE_S a restart is the only cure. Ready never depends on load: it is false until
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


def told(wanting: Mapping[str, str]) -> str:
    """Return what plugins that are not up say, to stand behind the verdict; empty without."""
    return "".join(f"; plugin {name}: {words}" for name, words in sorted(wanting.items()))


class HealthApp(Endpoint):
    """The ASGI application; it only looks at the vitals, so that an answer costs the worker nothing."""

    def __init__(self, vitals: Callable[[], Vitals], attempts: Callable[[], Attempts] = dict) -> None:
        self._vitals = vitals
        self._telemetry = WorkerTelemetry(lambda: vitals().metrics(time.monotonic()), attempts)

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


@asynccontextmanager
async def serving(
    settings: Settings, vitals: Callable[[], Vitals], attempts: Callable[[], Attempts] = dict
) -> AsyncIterator[int | None]:
    """Serve during the block if a port is set, and give the port; SetupError CONFIG_INVALID if it cannot be bound."""
    app, port = HealthApp(vitals, attempts), settings.worker_health_port
    async with listening(app, settings.bind_host, port, "TASKMILL_WORKER_HEALTH_PORT") as bound:
        yield bound
