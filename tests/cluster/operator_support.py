"""`taskmill operator` as a process on the control plane of the tests, and TaskQueues for it."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx2

from taskmill.kube import names
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings
from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.objects import Space
from tests.support.children import tied
from tests.support.command import TASKMILL
from tests.support.waiting import TIMEOUT_S, eventually

OURS = {"TaskQueue": "taskqueues", "TaskSchedule": "taskschedules"}
SLEEP = "/usr/bin/sleep"
TICK_S = "1"  # 测试里观察得勤一些，等得就少


class OperatorProcess:
    """One replica. `stop` is SIGTERM, `kill` SIGKILL; the log stays in `log`."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str, *, pod: str = "operator-0", **settings: str) -> None:
        self.log = folder / f"{pod}.log"
        kept = {name: text for name, text in os.environ.items() if not name.startswith("TASKMILL_")}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        made = {
            "OPERATOR_NAMESPACES": namespace,
            "POD_NAMESPACE": namespace,
            "POD_NAME": pod,
            "OPERATOR_HEALTH_PORT": str(self._port),
            "OPERATOR_TICK_S": TICK_S,
            "BIND_HOST": "127.0.0.1",
            **settings,
        }
        self._environment = {
            **kept,
            "KUBECONFIG": str(kubeconfig),
            **{f"TASKMILL_{name}": text for name, text in made.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; returns at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tied(TASKMILL, "operator"), env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it in order and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(20)

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text()

    async def leads(self) -> None:
        """Wait until it acts."""
        try:
            await eventually(lambda: "开始对账" in self.text, timeout=120, poll=0.05, why="the operator leads")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-2000:]}") from None

    @property
    def url(self) -> str:
        """Where its probes and metrics are."""
        return f"http://127.0.0.1:{self._port}"

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over the labels that are not given."""
        lines = httpx2.get(f"{self.url}/metrics").text.splitlines()
        found = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        wanted = [f'{label}="{text}"' for label, text in labels.items()]
        return sum(float(line.rpartition(" ")[2]) for line in found if all(each in line for each in wanted))


class QueueSpace(Space):
    """A namespace with TaskQueues."""

    def path(self, kind: str, name: str = "") -> str:
        """Return the URL path of a list, or of one object."""
        if kind not in OURS:
            return super().path(kind, name)
        base = f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{OURS[kind]}"
        return f"{base}/{name}" if name else base

    async def secret(self, name: str, url: str, *, watched: bool = True) -> None:
        """Make a Secret with a URL, or change it."""
        data = {"url": base64.b64encode(url.encode()).decode()}
        labels = {f"{names.GROUP}/watch": "true"} if watched else {}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "data": data}
        if await self.find("Secret", name) is None:
            await self.api.request("POST", self.path("Secret"), body)
        else:
            await self.change("Secret", name, data=data)

    async def queue(self, name: str, *, query: str = "", **spec: Any) -> Json:
        """Make a TaskQueue that runs `shell.run` of sleep; `query`: such as `?dryRun=All`."""
        body = {
            "apiVersion": names.API_VERSION,
            "kind": "TaskQueue",
            "metadata": {"name": name},
            "spec": {
                "image": "taskmill:test",
                "connection": {"databaseSecretRef": {"name": "database"}, "brokerSecretRef": {"name": "broker"}},
                "plugins": [{"name": "shell", "config": {"allow": SLEEP}}],
                **spec,
            },
        }
        return await self.api.request("POST", self.path("TaskQueue") + query, body)

    async def condition(self, name: str, kind: str, reason: str, *, timeout: float = TIMEOUT_S) -> Json:
        """Wait until a TaskQueue has a reason, and return the whole object."""
        return await self.until(
            "TaskQueue", name, lambda queue: reason_of(queue, kind) == reason, timeout=timeout, why=f"{kind}={reason}"
        )

    async def serving(self, name: str, pods: int, *, timeout: float = 90) -> Json:
        """Wait until a TaskQueue has so many workers, all of them ready, and says so."""

        def holds(queue: Json) -> bool:
            status = queue.get("status") or {}
            return reason_of(queue, "Ready") == "AsDesired" and status.get("readyReplicas") == status["replicas"] == pods

        return await self.until("TaskQueue", name, holds, timeout=timeout, why=f"{pods} workers ready")

    async def events(self, reason: str) -> list[Json]:
        """Return the events with a reason."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        return [event for event in (await self.api.get(path))["items"] if event["reason"] == reason]


def reason_of(queue: Json, kind: str) -> str:
    """Return the reason of a condition, empty without."""
    found = [each["reason"] for each in (queue.get("status") or {}).get("conditions") or () if each["type"] == kind]
    return found[0] if found else ""


def rewritten(url: str) -> str:
    """Return a URL that leads to the same database and is another text: what a rotated Secret holds."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://%{ord(rest[0]):02x}{rest[1:]}"


@asynccontextmanager
async def submitting(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """A platform that submits `shell.run`, as an API replica would."""
    settings = Settings(database_url=database_url, broker_url=broker_url)  # pyright: ignore[reportArgumentType]
    os.environ["TASKMILL_PLUGIN_SHELL_ALLOW"] = SLEEP
    platform = await Platform.open(settings, PluginHost.load(settings))
    try:
        yield platform
    finally:
        await platform.close()


async def sleep_tasks(platform: Platform, queue: str, count: int, seconds: float) -> list[UUID]:
    """Submit tasks that sleep."""
    request = SubmitRequest(kind="shell.run", queue=queue, args={"argv": [SLEEP, str(seconds)]})
    return [(await platform.submit.submit(request)).id for _ in range(count)]


async def done(platform: Platform, ids: Sequence[UUID], *, timeout: float = 90) -> None:
    """Wait until all are completed."""

    async def all_done() -> bool:
        return all([(await platform.tasks.get(each)).state == "completed" for each in ids])

    await eventually(all_done, timeout=timeout, poll=0.2, why="all tasks are done")


Started = Callable[..., OperatorProcess]
Schedule = Callable[[str, str], object]
