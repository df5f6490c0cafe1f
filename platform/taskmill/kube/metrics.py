"""What the operator counts, in the text form that Prometheus reads; the names are documented and stay."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from taskmill.telemetry import Metric

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
DRAINS = (1, 5, 15, 60, 300, 900, 3600)
QUEUE = ("namespace", "name")
OF_QUEUE = (
    ("ready_tasks", "Tasks that could start now."),
    ("running_tasks", "Tasks that run."),
    ("oldest_wait_seconds", "Wait of the oldest ready task."),
    ("desired_replicas", "Workers wanted now."),
    ("replicas", "Workers that exist."),
    ("draining_replicas", "Workers that finish and go."),
    ("broker_unreachable", "1 while workers cannot reach Valkey."),
    ("kinds_unserved", "1 while tasks wait whose kind no worker serves."),
    ("interrupted_tasks", "Tasks that scaling in has cut short, ever."),
)


M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """One set per process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.documented: list[Metric] = []
        self.requests = self._add(Counter, "api_requests", "Requests to the Kubernetes API.", ("verb", "code"))
        self.reconciles = self._add(Counter, "reconciles", "Rounds per kind by how they ended.", ("kind", "result"))
        self.reconcile_seconds = self._add(
            Histogram, "reconcile_seconds", "How long a round took.", ("kind",), buckets=DURATIONS
        )
        self.depth = self._add(Gauge, "queue_depth", "Objects that wait for a round.")
        self.oldest = self._add(Gauge, "queue_oldest_seconds", "Longest wait of these objects.")
        self.watch_restarts = self._add(Gauge, "watch_restarts", "Times the watch layer began anew.")
        self.relist_age = self._add(Gauge, "relist_age_seconds", "Time since the last full lists.")
        self.namespaces_lost = self._add(Gauge, "namespaces_lost", "Watched namespaces that may not be read.")
        self.namespaces_foreign = self._add(
            Gauge, "namespaces_foreign", "Watched namespaces in which another operator acts."
        )
        self.leader = self._add(Gauge, "leader", "1 while this process acts.")
        self._values: dict[tuple[str, str], dict[str, float]] = {}
        self._acting = True
        self._reading = threading.Lock()  # 读的人在自己的线程里，不能把刚忘掉的队列又写回去
        self._work()
        self.of_queue = {name: self._add(Gauge, f"queue_{name}", about, QUEUE) for name, about in OF_QUEUE}

    def _work(self) -> None:
        self.tick_seconds = self._add(
            Histogram, "tick_seconds", "How long the decisions of one database took.", buckets=DURATIONS
        )
        self.databases_failing = self._add(
            Gauge, "database_failing_seconds", "For how long a database has not answered.", ("database",)
        )
        self.decisions = self._add(Counter, "decisions", "Changes of the wanted number of workers.", ("direction",))
        self.drain_seconds = self._add(
            Histogram, "drain_seconds", "From the order to drain until the pod was gone.", buckets=DRAINS
        )
        self.migrations = self._add(Counter, "migrations", "Migration Jobs that ended.", ("phase", "result"))
        self.events = self._add(Counter, "events", "Kubernetes events by reason.", ("reason",))

    def _add(self, kind: type[M], name: str, about: str, labels: Sequence[str] = (), **more: Any) -> M:
        made = kind(f"taskmill_operator_{name}", about, labels, registry=self.registry, **more)
        for family in made.describe():
            full = f"{family.name}_total" if family.type == "counter" else family.name
            self.documented.append(Metric(full, family.type, tuple(labels), family.documentation))
        return made

    def act(self, acting: bool) -> None:  # noqa: FBT001 - 租约的回调
        """Note whether this process acts: while it does not, another one's numbers of the TaskQueues count, not ours."""
        self.leader.set(int(acting))
        self._acting = acting
        for namespace, name in [] if acting else list(self._values):
            self.forget(namespace, name)

    def queue(self, namespace: str, name: str, values: dict[str, float]) -> None:
        """Note the numbers of one TaskQueue; the gauges are set when somebody reads them."""
        if not self._acting:
            return
        with self._reading:
            self._values.setdefault((namespace, name), {}).update(values)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the gauges of a TaskQueue that is gone, or that somebody else sees to."""
        with self._reading:
            if self._values.pop((namespace, name), None) is None:
                return
            for gauge in self.of_queue.values():
                with suppress(KeyError):
                    gauge.remove(namespace, name)

    def render(self) -> bytes:
        """Return everything as text."""
        with self._reading:
            for (namespace, name), values in self._values.items():
                for key, value in values.items():
                    self.of_queue[key].labels(namespace, name).set(value)
        return generate_latest(self.registry)


def operator_metrics() -> list[Metric]:
    """Return every metric of the operator as it is documented."""
    return Metrics().documented
