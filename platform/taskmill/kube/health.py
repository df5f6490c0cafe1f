"""/healthz, /readyz and /metrics of the operator, answered on a thread of their own: a busy loop delays no probe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from taskmill.kube.metrics import Metrics
from taskmill.serving.endpoint import Endpoint


class LoopLag:
    """How late the event loop is: measured by a task that wants to wake every second."""

    def __init__(self) -> None:
        self._due = time.monotonic() + 1

    @property
    def seconds(self) -> float:
        """Return how long the next wake-up is overdue."""
        return max(0.0, time.monotonic() - self._due)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = time.monotonic() + 1
            await asyncio.sleep(1)


class Health(Endpoint):
    """`live` and `ready` return what is wrong, empty if nothing is; `refresh` brings gauges up to date.

    All three are called on the endpoint's thread and only look.
    """

    def __init__(
        self, metrics: Metrics, *, live: Callable[[], str], ready: Callable[[], str], refresh: Callable[[], None]
    ) -> None:
        self._metrics, self._ready, self._live, self._refresh = metrics, ready, live, refresh

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path == "/metrics":
            self._refresh()
            return 200, self._metrics.render()
        if path in {"/healthz", "/readyz"}:
            wrong = self._live() if path == "/healthz" else self._ready()
            return (503, f"{wrong}\n".encode()) if wrong else (200, b"ok\n")
        return 404, b"/healthz /readyz /metrics\n"
