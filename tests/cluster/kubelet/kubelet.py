"""The kubelet for tests: synchronous methods, a thread of its own behind them.

Faithful: what the real scheduler, controllers and API server see. Status, restarts, probes, grace, exit codes, process 1
without default signal handlers, a file system per container (the host's, read-only below, writes vanish), read-only roots.

Not faithful: all containers share this machine's network and kernel limits: requests and limits only count
for the scheduler, `oom` stands in for the kernel. "0.0.0.0" as an argument or a variable becomes the pod's own address.
Of securityContext only runAsUser, runAsGroup, runAsNonRoot and readOnlyRootFilesystem are obeyed (no fsGroup). No events, no
`kubectl exec`, no sidecar (restartable init) containers, no postStart, no grpc probes, no ephemeral containers,
no persistent volumes. Back-off and volume refresh are shortened (`Pace`). Short waits before the first probe have no jitter.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster.kubelet.api import Cluster
from tests.cluster.kubelet.container import Runner
from tests.cluster.kubelet.context import Pace
from tests.cluster.kubelet.core import Core
from tests.cluster.kubelet.images import Images
from tests.cluster.kubelet.process import Process

CALL_S = 30.0
ALLOCATABLE = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}

T = TypeVar("T")


class Kubelet:
    """`with Kubelet(kubeconfig, root) as kubelet:` plays `nodes` Nodes until the end of the block."""

    def __init__(
        self,
        kubeconfig: Path,
        root: Path,
        *,
        nodes: int = 2,
        prefix: str = "node",
        allocatable: dict[str, str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.images = Images()
        self.node_names = [f"{prefix}-{index}" for index in range(nodes)]
        self._cluster = Cluster(kubeconfig)
        self._root = root
        self._allocatable = ALLOCATABLE | (allocatable or {})
        self._pace = pace or Pace()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quit: asyncio.Event | None = None
        self._core: Core | None = None
        self._ready: Future[None] = Future()
        # 容器进程的死亡信号挂在这个线程上：线程结束，它们也结束
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)

    def __enter__(self) -> Kubelet:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Register the nodes; returns when pods are taken."""
        self._thread.start()
        self._ready.result(CALL_S)

    def stop(self) -> None:
        """Kill every container and delete the nodes. Raises what went wrong inside, if anything."""
        if self._loop is not None and self._quit is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._quit.set)
        self._thread.join(CALL_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the kubelet did not end within {CALL_S} s")
        if self._core is not None and self._core.failures:
            raise ExceptionGroup("pods of the kubelet failed", [e for e in self._core.failures if isinstance(e, Exception)])

    def logs(self, namespace: str, name: str, container: str = "") -> str:
        """Return what the containers of a pod (the newest of that name) have printed, also after its end."""
        folder = self._live().logs(namespace, name)
        files = sorted(folder.glob(f"{container or '*'}.log"))
        return "".join(file.read_text(errors="replace") for file in files)

    def all_logs(self) -> str:
        """Return the output of every pod, for reports of failed tests."""
        parts = [f"== {key[0]}/{key[1]} ==\n{self.logs(*key)}" for key in list(self._live().folders)]
        return "\n".join(parts)

    def pods(self) -> list[tuple[str, str]]:
        """Return (namespace, name) of the pods that are on the nodes now."""
        return self._call(self._keys())

    def local_address(self, namespace: str, name: str) -> str:
        """Return the 127.x.y.z on which the pod really listens."""

        async def look() -> str:
            core = self._live()
            return core.shared.network.local(core.worker(namespace, name).context.address)

        return self._call(look())

    def pid(self, namespace: str, name: str, container: str = "") -> int:
        """Return the process id, on this machine, of a container's process 1; 0 if none runs now."""

        async def look() -> int:
            running = self._running(namespace, name, container)
            return running[0][1].pid if running else 0

        return self._call(look())

    def kill(self, namespace: str, name: str, container: str = "", number: int = signal.SIGKILL) -> None:
        """Send a signal to a container's process 1; killed, it is reported with exit code 137 and restarted as usual."""

        async def act() -> None:
            self._first(namespace, name, container)[1].signal(number)

        self._call(act())

    def oom(self, namespace: str, name: str, container: str = "") -> None:
        """Kill a container as the kernel does when it is out of memory: OOMKilled, exit code 137."""

        async def act() -> None:
            self._first(namespace, name, container)[0].kill("OOMKilled")

        self._call(act())

    def evict(self, namespace: str, name: str, message: str = "The node was low on resource: memory.") -> None:
        """End a pod because its node is short of something: Failed, reason Evicted, condition DisruptionTarget."""

        async def act() -> None:
            self._live().worker(namespace, name).evict(message)

        self._call(act())

    def lose_node(self, name: str) -> None:
        """Let a node vanish with all its processes; its objects stay as they were until a controller acts."""
        self._call(self._live().lose(name))

    def restore_node(self, name: str) -> None:
        """End `lose_node`: heartbeats resume, pods still bound are started again, deleted ones removed."""
        self._call(self._live().restore(name))

    def delay_start(self, seconds: float, image: str = "") -> None:
        """Let containers of `image` (default: all) wait before they start; 0 ends it."""
        self._live().shared.delays[image] = seconds

    async def _keys(self) -> list[tuple[str, str]]:
        return self._live().keys()

    def _running(self, namespace: str, name: str, container: str) -> list[tuple[Runner, Process]]:
        runners = self._live().worker(namespace, name).runners
        named = [runner for runner in runners if not container or runner.spec["name"] == container]
        return [(runner, runner.process) for runner in named if runner.process is not None and runner.process.running]

    def _first(self, namespace: str, name: str, container: str) -> tuple[Runner, Process]:
        running = self._running(namespace, name, container)
        if not running:
            raise KeyError(f"{namespace}/{name} has no running container {container}")
        return running[0]

    def _live(self) -> Core:
        assert self._core is not None, "not started"
        return self._core

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None, "not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # 交给等待的线程
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _main(self) -> None:
        self._loop, self._quit = asyncio.get_running_loop(), asyncio.Event()
        names = self.node_names
        core = Core(
            self._cluster, self._root, names=names, images=self.images, allocatable=self._allocatable, pace=self._pace
        )
        self._core = core
        try:
            await core.start()
            self._ready.set_result(None)
            await self._quit.wait()
        finally:
            await core.stop()
