"""The kubelet itself, inside its event loop: nodes, the pods bound to them, and the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.kubelet.api import Api, Cluster, Json
from tests.cluster.kubelet.container import Runner
from tests.cluster.kubelet.context import Pace, Shared, probe_session
from tests.cluster.kubelet.images import Images
from tests.cluster.kubelet.informer import Informer, key_of, uid_of
from tests.cluster.kubelet.log_server import LogServer
from tests.cluster.kubelet.network import Network
from tests.cluster.kubelet.node import Node
from tests.cluster.kubelet.orders import Orders
from tests.cluster.kubelet.pod import PodWorker
from tests.cluster.kubelet.proxy import Proxy
from tests.cluster.kubelet.services import Services

ZONES = ("zone-a", "zone-b")
STOP_S = 10.0


class Core:
    """Made and used in one event loop; `Kubelet` is its face for other threads."""

    def __init__(
        self, cluster: Cluster, root: Path, *, names: Sequence[str], images: Images, allocatable: dict[str, str], pace: Pace
    ) -> None:
        self._api = Api(cluster)
        self._network = Network()
        self._services = Services(self._api, self._network)
        self._proxy = Proxy(self._services, self._network.proxy_host)
        self.shared = Shared(self._api, images, self._network, root, probe_session(), pace, allocatable, self._proxy.url)
        self.nodes = {
            name: Node(
                self._api,
                name,
                address=self._network.node(index),
                allocatable=allocatable,
                zone=ZONES[index % len(ZONES)],
                pace=pace,
            )
            for index, name in enumerate(names)
        }
        self._root = root
        self._orders = Orders()
        self._logs = LogServer(root, self._network.proxy_host, self.logs, self._writing)
        self.folders: dict[tuple[str, str], Path] = {}
        self._pods = Informer(self._api, "/api/v1/pods", self._on_pod, fieldSelector="spec.nodeName!=")
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._finished: set[str] = set()
        self._background: list[asyncio.Task[None]] = []
        self.failures: list[BaseException] = []

    async def start(self) -> None:
        """Register the nodes and begin to take pods."""
        await self._proxy.start()
        self._root.joinpath("logs").mkdir(parents=True, exist_ok=True)
        await self._logs.start()
        for node in self.nodes.values():
            node.log_server = (self._network.proxy_host, self._logs.port)
        await asyncio.gather(*(node.register() for node in self.nodes.values()))
        runs = [node.run() for node in self.nodes.values()] + [
            item.run() for item in (self._pods, *self._services.informers)
        ]
        self._background = [asyncio.create_task(run) for run in runs]
        await self._pods.synced.wait()

    async def stop(self) -> None:
        """Kill every container, delete the nodes, close everything."""
        await _cancel(self._background)
        runners = [runner for worker in self._workers.values() for runner in worker.runners]
        await _cancel(list(self._tasks.values()))
        await _ended(runners)
        await asyncio.gather(*(node.unregister() for node in self.nodes.values()))
        await self._proxy.close()
        await self._logs.close()
        await self.shared.probes.close()
        await self._api.close()
        self._network.close()

    def worker(self, namespace: str, name: str) -> PodWorker:
        """Return the pod; raises KeyError if no node of ours has it."""
        for worker in self._workers.values():
            if key_of(worker.context.pod) == (namespace, name):
                return worker
        raise KeyError(f"{namespace}/{name}")

    def logs(self, namespace: str, name: str) -> Path:
        """Return the folder of a pod's logs, a file per container; raises KeyError. They stay after its end."""
        return self.folders[namespace, name] / "logs"

    def _writing(self, namespace: str, name: str, container: str) -> bool:
        runners = [r for w in self._workers.values() if key_of(w.context.pod) == (namespace, name) for r in w.runners]
        return any(r.spec["name"] == container and r.process is not None and r.process.running for r in runners)

    def keys(self) -> list[tuple[str, str]]:
        """Return (namespace, name) of the pods on the nodes."""
        return sorted(key_of(worker.context.pod) for worker in self._workers.values())

    async def lose(self, name: str) -> None:
        """Let a node vanish: no heartbeats, its processes killed, its pods' status frozen."""
        self.nodes[name].lost = True
        theirs = [uid for uid, worker in self._workers.items() if worker.context.pod["spec"]["nodeName"] == name]
        runners = [runner for uid in theirs for runner in self._workers[uid].runners]
        await _cancel([self._tasks[uid] for uid in theirs])
        await _ended(runners)

    async def restore(self, name: str) -> None:
        """Let it come back and deal with the pods that are still bound to it."""
        await self.nodes[name].register()
        await self.nodes[name].returned()
        for pod in list(self._pods.items.values()):
            if pod["spec"]["nodeName"] == name:
                self._on_pod(pod, False)

    def _on_pod(self, pod: Json, gone: bool) -> None:
        uid = uid_of(pod)
        worker = self._workers.get(uid)
        if gone:
            self._finished.discard(uid)
            self._orders.forget(uid)
            if worker is not None:
                worker.gone()
        elif worker is not None:
            worker.update(pod)
            self._orders.obey(worker, pod)
        elif uid not in self._finished:
            node = self.nodes.get(pod["spec"]["nodeName"])
            if node is not None and not node.lost:
                self._begin(uid, pod, node)

    def _begin(self, uid: str, pod: Json, node: Node) -> None:
        folder = self.shared.root / "pods" / uid
        folder.joinpath("logs").mkdir(parents=True, exist_ok=True)
        self.folders[key_of(pod)] = folder
        link = self._root / "logs" / ".".join(key_of(pod))
        link.unlink(missing_ok=True)
        link.symlink_to(folder / "logs")
        worker = self._workers[uid] = PodWorker(self.shared, pod, host_address=node.address, folder=folder)
        task = self._tasks[uid] = asyncio.create_task(worker.run())

        def ended(task: asyncio.Task[None]) -> None:
            self._workers.pop(uid, None)
            self._tasks.pop(uid, None)
            if not task.cancelled():
                self._finished.add(uid)
                if (error := task.exception()) is not None:
                    self.failures.append(error)

        task.add_done_callback(ended)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _ended(runners: Sequence[Runner]) -> None:
    """Wait until the processes of `runners` are reaped."""
    waiting = [runner.process.wait() for runner in runners if runner.process is not None]
    async with asyncio.timeout(STOP_S):
        await asyncio.gather(*waiting)
