"""Metrics of one API process, in a registry of its own. `METRICS` is the whole list, for the reference page."""

from __future__ import annotations

import math
import platform
from collections import Counter as Tally
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from taskmill import __version__
from taskmill.api import constants as c
from taskmill.telemetry import Metric

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"  # 没有路由的请求共用一个标签，标签数不随路径增长
OTHER = "OTHER"
OTHER_QUEUES = "(other)"  # 队列名里没有括号，不会撞上
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)

METRICS = (
    Metric("taskmill_build_info", "gauge", ("version", "python"), "Always 1; says what runs."),
    Metric("taskmill_http_requests_total", "counter", ("method", "path", "status"), "HTTP requests by route template."),
    Metric("taskmill_http_request_seconds", "histogram", ("method", "path"), "Time to answer HTTP requests, in seconds."),
    Metric(
        "taskmill_http_refused_total",
        "counter",
        ("reason",),
        "Connections that were refused or closed before an answer: by the code of the error, or `slow_header`, `slow_body`, "
        "`slow_reader` for what took too long and `evicted` for unfinished or idle ones that made room.",
    ),
    Metric("taskmill_tasks_submitted_total", "counter", ("queue",), "Tasks accepted by this process over HTTP."),
    Metric("taskmill_tasks", "gauge", ("queue", "state"), "Live tasks in the database."),
    Metric("taskmill_queue_oldest_wait_seconds", "gauge", ("queue",), "How long the oldest available task has been ready."),
    Metric("taskmill_workers", "gauge", ("state",), "Worker processes by state, as the database knows them."),
    Metric(
        "taskmill_schedulers",
        "gauge",
        (),
        "Schedulers that live, as the database knows them; none: nothing that is due is let go.",
    ),
)
_BY_NAME = {metric.name: metric for metric in METRICS}


class FromDatabase(Collector):
    """Gauges whose numbers are read at the scrape: they are the same in every process, and old ones are not shown."""

    def __init__(self) -> None:
        self._samples: dict[str, dict[tuple[str, ...], float]] = {}

    def put(self, name: str, samples: Mapping[tuple[str, ...], float]) -> None:
        """Replace the samples of a gauge."""
        self._samples[name] = dict(samples)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return what was put."""
        for name, samples in self._samples.items():
            metric = _BY_NAME[name]
            family = GaugeMetricFamily(name, metric.help, labels=metric.labels)
            for labels, value in samples.items():
                family.add_metric(labels, value)
            yield family


class Telemetry:
    """The instruments of one process; of several that share a port (`shared`: the folder of their numbers) all together."""

    def __init__(self, shared: str | None = None) -> None:
        self.registry = CollectorRegistry()
        self._shared = shared
        self._database = FromDatabase()
        self._database.put("taskmill_build_info", {(__version__, platform.python_version()): 1})
        self._requests = _counter("taskmill_http_requests_total", self.registry)
        self._seconds = Histogram(*_words("taskmill_http_request_seconds"), registry=self.registry, buckets=BUCKETS_S)
        self._refused = _counter("taskmill_http_refused_total", self.registry)
        self._submitted = _counter("taskmill_tasks_submitted_total", self.registry)
        self._counted: set[str] = set()
        self.forget()
        # labels() 每次都要拼键加锁；热路径直接记住子指标
        self._http: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, method: str, path: str | None, status: int, seconds: float) -> None:
        """Count one HTTP request; `path` is the route template, None for unmatched ones."""
        key = (method if method in METHODS else OTHER, path or UNMATCHED, status)
        found = self._http.get(key)
        if found is None:
            found = (self._requests.labels(*map(str, key)), self._seconds.labels(*key[:2]))
            self._http[key] = found
        found[0].inc()
        found[1].observe(seconds)

    def refused(self, reason: str) -> None:
        """Count one connection that was refused or closed before an answer."""
        self._refused.labels(reason).inc()

    def submitted(self, queues: Iterable[str]) -> None:
        """Count tasks that were accepted, by queue; queues beyond METRICS_QUEUES_MAX share a label."""
        for queue in queues:
            if queue not in self._counted and len(self._counted) < c.METRICS_QUEUES_MAX:
                self._counted.add(queue)
            self._submitted.labels(queue if queue in self._counted else OTHER_QUEUES).inc()

    def backlog(self, live: Mapping[tuple[str, str], int], oldest_wait_s: Mapping[str, float]) -> None:
        """Set the gauges of live tasks by (queue, state) and the waits by queue; queues that emptied disappear.

        The METRICS_QUEUES_MAX queues with the most tasks have labels of their own; the others share one, with the sum of
        their tasks and the longest of their waits.
        """
        sums: Tally[str] = Tally()
        for (queue, _), number in live.items():
            sums[queue] += number
        shown = {queue for queue, _ in sums.most_common(c.METRICS_QUEUES_MAX)}
        tasks: Tally[tuple[str, str]] = Tally()
        for (queue, state), number in live.items():
            tasks[queue if queue in shown else OTHER_QUEUES, state] += number
        waits: dict[tuple[str], float] = {}
        for queue, seconds in oldest_wait_s.items():
            name = (queue if queue in shown else OTHER_QUEUES,)
            waits[name] = max(seconds, waits.get(name, 0.0))
        self._database.put("taskmill_tasks", tasks)
        self._database.put("taskmill_queue_oldest_wait_seconds", waits)

    def processes(self, workers: Mapping[str, int], schedulers: int) -> None:
        """Set the gauges of workers by state and of the schedulers that live."""
        self._database.put("taskmill_workers", {(state,): number for state, number in workers.items()})
        self._database.put("taskmill_schedulers", {(): schedulers})

    def forget(self) -> None:
        """Drop what came from the database: old numbers would look like fresh ones."""
        for name in ("taskmill_tasks", "taskmill_queue_oldest_wait_seconds", "taskmill_workers"):
            self._database.put(name, {})
        self._database.put("taskmill_schedulers", {(): math.nan})

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self._database) + generate_latest(self._counters())

    def _counters(self) -> Collector:
        if self._shared is None:
            return self.registry
        found = CollectorRegistry()
        MultiProcessCollector(found, self._shared)
        return found


def _words(name: str) -> tuple[str, str, tuple[str, ...]]:
    metric = _BY_NAME[name]
    return name, metric.help, metric.labels


def _counter(name: str, registry: CollectorRegistry) -> Counter:
    return Counter(*_words(name), registry=registry)
