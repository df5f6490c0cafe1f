"""A cluster that remembers, and one TaskQueue whose rounds a test makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.failures import (
    KubeError,
)
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.apply import Applier
from taskmill.kube.loop.events import EventPoster
from taskmill.kube.loop.rounds import Rounds, Tools
from taskmill.kube.loop.status import StatusWriter
from taskmill.kube.loop.workqueue import WorkQueue
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.cache import Cache
from taskmill.kube.observe.databases import Databases
from taskmill.kube.observe.facts import GROUPERS, Facts
from taskmill.kube.observe.secret_facts import Secrets
from taskmill.kube.plan.conditions import reason_of
from taskmill.kube.state import (
    Event,
    Manifest,
    Options,
)
from tests.unit.kube.objects import queue

KEY = Key.queue("app", "emails")


class Cluster:
    """Takes every write, or raises what it was given; the answers carry ever newer versions."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, Any]] = []
        self.error: KubeError | None = None
        self.version = 100
        self.there: dict[str, Manifest] = {}
        self.rewrites: Manifest = {}

    def _write(self, verb: str, body: Manifest) -> Manifest:
        if self.error is not None:
            raise self.error
        self.writes.append((verb, body))
        self.version += 1
        return {
            **body,
            **(self.rewrites if verb == names.CONTROLLER else {}),
            "metadata": {"generation": 1, **body["metadata"], "resourceVersion": str(self.version)},
        }

    async def apply(self, manifest: Manifest, manager: str, *, subresource: str = "") -> Manifest:
        return self._write(subresource or manager, manifest)

    async def find(self, kind: k.Kind, namespace: str, name: str) -> Manifest | None:
        return self.there.get(name)

    async def create(self, manifest: Manifest) -> Manifest:
        return self._write("create", manifest)

    async def merge(self, kind: k.Kind, namespace: str, name: str, body: Manifest) -> Manifest:
        metadata = {"name": name, "namespace": namespace, **body.get("metadata", {})}
        return self._write("merge", {**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata})

    async def scale(self, kind: k.Kind, namespace: str, name: str, replicas: int) -> Manifest:
        return self._write("scale", {"metadata": {"name": name, "namespace": namespace}, "spec": {"replicas": replicas}})


async def nowhere(_: str) -> Any:
    """Open no database."""
    raise OSError


class World(Rounds):
    """One TaskQueue; `outcome` is what its round does, `status` and `events` what it publishes."""

    def __init__(self) -> None:
        self.clock, self.cluster, self.cache, self.metrics = FakeClock(), Cluster(), Cache(GROUPERS), Metrics()
        cluster: Any = self.cluster
        self.held, self.fence = True, 7
        self.queue: WorkQueue[Key] = WorkQueue(self.clock, lambda: 1.0)
        self.poster = EventPoster(cluster, "op-0", self.metrics, self.clock)
        self.writer = StatusWriter(cluster, self.cache, self.clock)
        self.applier = Applier(cluster, self.cache, self.token)
        facts = Facts(
            self.cache, Secrets(cluster), Databases(lambda _: 0.0, opener=nowhere), cluster, Options("", 8801, "op")
        )
        super().__init__(
            Tools(facts, self.applier, self.writer, self.poster, self.queue, self.metrics, self.token, self.clock)
        )
        self.error: Exception | None = None
        self.status: Manifest = {}
        self.events: Sequence[Event] = ()
        self.loses = False
        manifest = queue("emails")
        manifest["metadata"]["resourceVersion"] = "1"
        self.cache.put(k.TASK_QUEUE, manifest)

    def token(self) -> int | None:
        return self.fence if self.held else None

    async def _round(self, key: Key, manifest: Manifest, token: int) -> float:
        if self.error is not None:
            raise self.error
        if self.loses:
            self.held = False
        return await self._publish(key, manifest, self.status, self.events) or c.RESYNC_S

    async def go(self, seconds: float = 0.0) -> list[str]:
        """One round; returns the verbs of its writes."""
        self.clock.advance(seconds)
        self.cluster.writes.clear()
        await self.run(KEY)
        return [verb for verb, _ in self.cluster.writes]

    @property
    def reason(self) -> str:
        found = self.cache.get(k.TASK_QUEUE, "app", "emails") or {}
        return reason_of((found.get("status") or {}).get("conditions") or (), "Ready")


def account(uid: str) -> Manifest:
    owner = {"kind": "TaskQueue", "name": "emails", "uid": uid, "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "emails-worker", "namespace": "app", "ownerReferences": [owner]},
    }
