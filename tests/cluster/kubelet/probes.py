"""The startup, liveness and readiness probes of a running container."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.handlers import Handlers
from tests.cluster.kubelet.status import Container


class Probes:
    """`sick(probe)` is called when a startup or liveness probe has failed too often."""

    def __init__(
        self,
        spec: Json,
        view: Container,
        handlers: Handlers,
        *,
        changed: Callable[[], None],
        sick: Callable[[Json, str], None],
    ) -> None:
        self._spec = spec
        self._view = view
        self._handlers = handlers
        self._changed = changed
        self._sick = sick

    async def run(self) -> None:
        """Probe until cancelled."""
        startup = self._spec.get("startupProbe")
        if startup and not await self._start(startup):
            return
        self._set(started=True)
        async with asyncio.TaskGroup() as group:
            if liveness := self._spec.get("livenessProbe"):
                group.create_task(self._live(liveness))
            if readiness := self._spec.get("readinessProbe"):
                group.create_task(self._ready(readiness))
            else:
                self._set(ready=True)

    async def _start(self, probe: Json) -> bool:
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while not await self._once(probe):
            failures += 1
            if failures >= probe.get("failureThreshold", 3):
                self._sick(probe, "startup")
                return False
            await self._pause(probe)
        return True

    async def _live(self, probe: Json) -> None:
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while True:
            failures = 0 if await self._once(probe) else failures + 1
            if failures >= probe.get("failureThreshold", 3):
                self._sick(probe, "liveness")
                return
            await self._pause(probe)

    async def _ready(self, probe: Json) -> None:
        good = bad = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while True:
            good, bad = (good + 1, 0) if await self._once(probe) else (0, bad + 1)
            if good >= probe.get("successThreshold", 1):
                self._set(ready=True)
            elif bad >= probe.get("failureThreshold", 3):
                self._set(ready=False)
            await self._pause(probe)

    async def _once(self, probe: Json) -> bool:
        return await self._handlers.succeeds(probe, probe.get("timeoutSeconds", 1))

    async def _pause(self, probe: Json) -> None:
        await asyncio.sleep(probe.get("periodSeconds", 10))

    def _set(self, *, ready: bool | None = None, started: bool | None = None) -> None:
        if ready not in (None, self._view.ready) or started not in (None, self._view.started):
            self._view.ready = self._view.ready if ready is None else ready
            self._view.started = self._view.started if started is None else started
            self._changed()
