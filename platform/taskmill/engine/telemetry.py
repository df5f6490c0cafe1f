"""Metrics of one worker process, read when somebody asks. `WORKER_METRICS` is the whole list, for the reference page."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from taskmill import __version__
from taskmill.telemetry import ATTEMPTS, Attempts, Metric, family_of

WORKER_METRICS = (
    Metric("taskmill_worker_info", "gauge", ("version", "python"), "Always 1; says what runs."),
    Metric("taskmill_worker_slots", "gauge", (), "Tasks that this worker runs at once."),
    Metric("taskmill_worker_running", "gauge", (), "Tasks that run now."),
    Metric("taskmill_worker_unsettled", "gauge", (), "Results that wait for their commit."),
    Metric("taskmill_worker_claimed_total", "counter", (), "Tasks claimed since the process began."),
    Metric("taskmill_worker_settled_total", "counter", (), "Results written since the process began."),
    Metric("taskmill_worker_lease_age_seconds", "gauge", (), "Time since the lease was last renewed."),
    Metric("taskmill_worker_paused_queues", "gauge", (), "Queues of this worker that are paused."),
    Metric("taskmill_worker_cordoned", "gauge", (), "1 while an operator's order says to read no more."),
    Metric("taskmill_worker_draining", "gauge", (), "1 after SIGTERM."),
    Metric("taskmill_worker_ready", "gauge", (), "1 while `/readyz` says so."),
    Metric(
        "taskmill_worker_abandoned",
        "gauge",
        (),
        "Coroutines that still run although their attempt was cancelled and given up.",
    ),
    ATTEMPTS,
)


class WorkerTelemetry(Collector):
    """The metrics of one worker process, read when somebody asks. `read` returns values by metric name, `attempts` counts."""

    def __init__(self, read: Callable[[], Mapping[str, float]], attempts: Callable[[], Attempts] = dict) -> None:
        self.registry = CollectorRegistry()
        self._read, self._attempts = read, attempts
        self.registry.register(self)

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Yield every metric with its value now."""
        values = self._read()
        for metric in WORKER_METRICS:
            if metric is ATTEMPTS:
                yield family_of(metric, self._attempts())
                continue
            labels = (__version__, platform.python_version()) if metric.labels else ()
            family = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            found = family(metric.name, metric.help, labels=metric.labels)
            if metric.name in values or labels:
                found.add_metric(labels, values.get(metric.name, 1))
            yield found

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)
