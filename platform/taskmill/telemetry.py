"""What the metrics of all roles have in common; the lists stand beside each role, for the reference page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is documented."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


Attempts = Mapping[tuple[str, str, str, str], int]
ATTEMPTS = Metric(
    "taskmill_attempts_total",
    "counter",
    ("kind", "queue", "outcome", "cause"),
    "Attempts that ended, by what became of the task and why: by a worker those that it ran, by a scheduler those that it took "
    "back from workers and the tasks that expired. `kind` and `queue` are `other` once there are very many.",
)


def family_of(metric: Metric, counts: Attempts) -> CounterMetricFamily:
    """Return the samples of a counter, one for each tuple of labels."""
    found = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, number in counts.items():
        found.add_metric(labels, number)
    return found
