"""One pod on this node, from the moment the scheduler bound it until it is removed."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import aiohttp

from tests.cluster.kubelet.api import ApiError, Json
from tests.cluster.kubelet.container import Runner
from tests.cluster.kubelet.context import PodContext, Shared
from tests.cluster.kubelet.making import Making
from tests.cluster.kubelet.pod_status import PodStatus
from tests.cluster.kubelet.publisher import Publisher
from tests.cluster.kubelet.references import ConfigError, References
from tests.cluster.kubelet.volumes import Volumes

FINAL = ("Succeeded", "Failed")


class PodWorker:
    """Runs the pod in one task; `update` and `gone` tell it what the API server says."""

    def __init__(self, shared: Shared, pod: Json, *, host_address: str, folder: Path) -> None:
        address = (pod.get("status") or {}).get("podIP", "")
        if not shared.network.ours(address):
            address = host_address if pod["spec"].get("hostNetwork") else shared.network.pod()
        self.context = PodContext(shared, pod, address, host_address, folder, self._changed)
        references = References(shared.api, pod["metadata"]["namespace"])
        self.volumes = Volumes(pod, folder / "volumes", references, self.context.addresses, shared.allocatable)
        making = Making(self.context, references, self.volumes)
        spec = pod["spec"]
        self.inits = [Runner(self.context, item, making, init=True) for item in spec.get("initContainers") or []]
        self.mains = [Runner(self.context, item, making, init=False) for item in spec["containers"]]
        self.publisher = Publisher(shared.api, pod)
        self.status = PodStatus(self.context, self.inits, self.mains)
        self._asked = asyncio.Event()  # 该停了：被删除，或节点要驱逐它
        self._forced = False

    @property
    def runners(self) -> list[Runner]:
        """All containers."""
        return [*self.inits, *self.mains]

    def update(self, pod: Json) -> None:
        """Take the newest object."""
        self.context.pod = pod
        if pod["spec"].get("readinessGates"):
            self._changed()
        if pod["metadata"].get("deletionTimestamp"):
            self._asked.set()

    def gone(self) -> None:
        """The pod was removed from the API server: end its processes at once."""
        self._forced = True
        self.publisher.gone = True
        self._asked.set()
        self.kill()

    def evict(self, message: str) -> None:
        """End it like a kubelet whose node is short of a resource; the object stays, as Failed."""
        self.status.evicted(message)
        self._asked.set()

    def kill(self) -> None:
        """Kill every container."""
        for runner in self.runners:
            runner.kill()

    async def run(self) -> None:
        """Drive the pod; cancelled when its node is lost or the kubelet stops."""
        publishing = asyncio.create_task(self.publisher.run())
        try:
            if (self.context.pod.get("status") or {}).get("phase") not in FINAL:
                await self._alive()
            while not self.context.pod["metadata"].get("deletionTimestamp") and not self._forced:
                self._asked.clear()
                await self._asked.wait()
            await self.publisher.flush()
            await self.publisher.remove()
        finally:
            self.kill()
            publishing.cancel()
            shutil.rmtree(self.context.folder / "volumes", ignore_errors=True)

    async def _alive(self) -> None:
        self.update(self.context.pod)
        self.status.resume()
        self._changed()
        asking = asyncio.create_task(self._asked.wait())
        work = asyncio.create_task(self._work())
        refresh = asyncio.create_task(self._refresh())
        try:
            await asyncio.wait((asking, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.gather(*(runner.stop(self._grace()) for runner in self.runners))
                await work
            if self._asked.is_set():
                self.status.end()
            self._changed()
        finally:
            for task in (asking, work, refresh):
                task.cancel()
            await asyncio.gather(asking, work, refresh, return_exceptions=True)

    def _grace(self) -> float:
        if self._forced or self.status.reason:
            return 0.0
        pod = self.context.pod
        return pod["metadata"].get("deletionGracePeriodSeconds", pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _work(self) -> None:
        """Volumes, init containers one by one, then all containers; returns when all have ended for good."""
        while not self._asked.is_set():
            try:
                await self.volumes.make(self.context.pod)
                break
            except (ConfigError, ApiError, aiohttp.ClientError, OSError, TimeoutError):
                with suppress(TimeoutError):  # 同真的一样停在 ContainerCreating
                    await asyncio.wait_for(self._asked.wait(), self.context.shared.pace.config_retry_s)
        self.status.sandbox = True
        self._changed()
        for runner in self.inits:
            if self._asked.is_set():
                return
            await runner.run()
            if runner.view.exit_code != 0:
                return
        if not self._asked.is_set():
            await asyncio.gather(*(runner.run() for runner in self.mains))

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self.context.shared.pace.refresh_s)
            if self.status.sandbox:
                with suppress(ConfigError, ApiError, aiohttp.ClientError, OSError, TimeoutError):
                    await self.volumes.make(self.context.pod)

    def _changed(self) -> None:
        self.publisher.put(self.status.json())
