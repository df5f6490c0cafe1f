"""Metrics of one scheduler process, read when somebody asks. `SCHEDULER_METRICS` is the whole list, for the reference page."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from taskmill import __version__
from taskmill.telemetry import ATTEMPTS, Attempts, Metric

SCHEDULER_METRICS = (
    Metric("taskmill_scheduler_info", "gauge", ("version", "python"), "Always 1; says what runs."),
    Metric(
        "taskmill_loop_work_total",
        "counter",
        ("loop", "what"),
        "What a loop has done, by kind of work; for the auditor, `lost` and `stuck` are tickets that it had to repair.",
    ),
    Metric("taskmill_loop_failures", "gauge", ("loop",), "Rounds of a loop that failed since the last one that succeeded."),
    Metric("taskmill_loop_success_age_seconds", "gauge", ("loop",), "Time since a round of a loop last succeeded."),
    ATTEMPTS,
)


@dataclass(frozen=True, slots=True)
class LoopFacts:
    """What one loop of the scheduler says of itself. `age_s` is None before the first success."""

    name: str
    done: Mapping[str, int]
    failures: int
    age_s: float | None


class SchedulerTelemetry(Collector):
    """The metrics of one scheduler process, read when somebody asks."""

    def __init__(self, read: Callable[[], Iterable[LoopFacts]], attempts: Callable[[], Attempts] = dict) -> None:
        self.registry = CollectorRegistry()
        self._read, self._attempts = read, attempts
        self.registry.register(self)

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Yield every metric with its values now."""
        facts = list(self._read())
        values: dict[str, list[tuple[tuple[str, ...], float]]] = {
            ATTEMPTS.name: list(self._attempts().items()),
            "taskmill_scheduler_info": [((__version__, platform.python_version()), 1)],
            "taskmill_loop_work_total": [((f.name, what), n) for f in facts for what, n in f.done.items()],
            "taskmill_loop_failures": [((f.name,), f.failures) for f in facts],
            "taskmill_loop_success_age_seconds": [((f.name,), f.age_s) for f in facts if f.age_s is not None],
        }
        for metric in SCHEDULER_METRICS:
            family = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            found = family(metric.name, metric.help, labels=metric.labels)
            for labels, value in values[metric.name]:
                found.add_metric(labels, value)
            yield found

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)
