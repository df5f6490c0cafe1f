"""What the operator counts, in the text form that Prometheus reads; the names are documented and stay."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

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
    ("interrupted_tasks", "Tasks that scaling in has cut short, ever."),
)


class Metrics:
    """One set per process, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "taskmill_operator_api_requests", "Requests to the Kubernetes API.", ["verb", "code"], registry=registry
        )
        self.reconciles = Counter(
            "taskmill_operator_reconciles", "Rounds per kind by how they ended.", ["kind", "result"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            "taskmill_operator_reconcile_seconds", "How long a round took.", ["kind"], buckets=DURATIONS, registry=registry
        )
        self.depth = Gauge("taskmill_operator_queue_depth", "Objects that wait for a round.", registry=registry)
        self.oldest = Gauge("taskmill_operator_queue_oldest_seconds", "Longest wait of these objects.", registry=registry)
        self.watch_restarts = Gauge(
            "taskmill_operator_watch_restarts", "Times the watch layer began anew.", registry=registry
        )
        self.relist_age = Gauge("taskmill_operator_relist_age_seconds", "Time since the last full lists.", registry=registry)
        self.leader = Gauge("taskmill_operator_leader", "1 while this process acts.", registry=registry)
        self._values: dict[tuple[str, str], dict[str, float]] = {}
        self._work(registry)
        self.of_queue = {
            name: Gauge(f"taskmill_operator_queue_{name}", about, QUEUE, registry=registry) for name, about in OF_QUEUE
        }

    def _work(self, registry: CollectorRegistry) -> None:
        self.tick_seconds = Histogram(
            "taskmill_operator_tick_seconds",
            "How long the decisions of one database took.",
            buckets=DURATIONS,
            registry=registry,
        )
        self.databases_failing = Gauge(
            "taskmill_operator_database_failing_seconds",
            "For how long a database has not answered.",
            ["database"],
            registry=registry,
        )
        self.decisions = Counter(
            "taskmill_operator_decisions", "Changes of the wanted number of workers.", ["direction"], registry=registry
        )
        self.drain_seconds = Histogram(
            "taskmill_operator_drain_seconds",
            "From the order to drain until the pod was gone.",
            buckets=DRAINS,
            registry=registry,
        )
        self.migrations = Counter(
            "taskmill_operator_migrations", "Migration Jobs that ended.", ["phase", "result"], registry=registry
        )
        self.events = Counter("taskmill_operator_events", "Kubernetes events by reason.", ["reason"], registry=registry)

    def queue(self, namespace: str, name: str, values: dict[str, float]) -> None:
        """Note the numbers of one TaskQueue; the gauges are set when somebody reads them."""
        known = self._values.get((namespace, name))
        if known is None:
            self._values[namespace, name] = values
        else:
            known.update(values)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the gauges of a TaskQueue that is gone."""
        if self._values.pop((namespace, name), None) is None:
            return
        for gauge in self.of_queue.values():
            with suppress(KeyError):
                gauge.remove(namespace, name)

    def render(self) -> bytes:
        """Return everything as text."""
        for (namespace, name), values in self._values.items():
            for key, value in values.items():
                self.of_queue[key].labels(namespace, name).set(value)
        return generate_latest(self.registry)


def operator_metrics() -> list[Metric]:
    """Return every metric of the operator as it is documented."""
    metrics = Metrics()
    collectors = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    found: list[Metric] = []
    for collector in (*collectors, *metrics.of_queue.values()):
        for family in collector.describe():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found.append(Metric(name, family.type, tuple(collector._labelnames), family.documentation))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - 没有公开的取法
    return found
