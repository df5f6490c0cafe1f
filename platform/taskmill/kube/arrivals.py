"""What the counters of a queue say about its traffic: how much arrives, and how long a task takes.

Pure: `observe(load, rates)` returns the rates after one more sample. Arrivals are counted, not sampled: what has
finished since the last look plus what the queue gained. The mean service time of short tasks is their run time over
their number; that of long ones is slot time over finished tasks, so that those that still run raise it too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from taskmill import constants as c


class Load(Protocol):
    """The counters of one queue, as `QueueLoad` has them; times are those of PostgreSQL's clock.

    `finished` and `run_s` are totals since a start that stays the same from sample to sample.
    """

    @property
    def ready(self) -> int:
        """Tasks that could start now."""
        ...

    @property
    def running(self) -> int:
        """Tasks that run, on whatever worker."""
        ...

    @property
    def due_soon(self) -> int:
        """Tasks that wait for their time, which comes within the horizon."""
        ...

    @property
    def oldest_wait_s(self) -> float:
        """How long the oldest ready task has waited, in seconds; 0 when none is ready."""
        ...

    @property
    def finished(self) -> int:
        """Attempts settled since the start."""
        ...

    @property
    def run_s(self) -> float:
        """How long those attempts ran in all, in seconds."""
        ...

    @property
    def at(self) -> datetime:
        """When this was counted."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """What is kept of the last look."""

    at: datetime
    live: int
    running: int
    finished: int
    run_s: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Running estimates; `samples` is how many tasks the service time rests on, fading with age."""

    last: Sample | None = None
    fast: float = 0.0
    slow: float = 0.0
    busy_s: float = 0.0
    ran_s: float = 0.0
    samples: float = 0.0

    def arrivals(self, oldest_wait_s: float) -> float:
        """Return tasks per second: the slow average, or the fast one if it is higher and tasks do wait.

        While nothing waits, a rise of the fast average is noise, and following it costs pods.
        """
        return max(self.slow, self.fast) if oldest_wait_s > c.SCALER_TICK_S / 2 else self.slow

    @property
    def known(self) -> bool:
        """Say whether enough tasks have finished to rely on their mean run time."""
        return self.samples >= c.SERVICE_PRIOR_SAMPLES

    @property
    def service_s(self) -> float:
        """Mean run time in seconds; until enough tasks have finished, blended with a prior."""
        prior = max(0.0, c.SERVICE_PRIOR_SAMPLES - self.samples)
        # 短任务不看 running：抽样抽不准，里面还有预取而未跑的
        short = 0 < self.ran_s < self.samples * c.SCALER_TICK_S
        total = self.ran_s if short else self.busy_s
        return max(c.SERVICE_MIN_S, (total + prior * c.SERVICE_PRIOR_S) / max(self.samples + prior, 1.0))


def observe(load: Load, rates: Rates) -> Rates:
    """Return the rates after `load`; a sample whose counters or clock went backwards only becomes the new start."""
    now = Sample(load.at, load.ready + load.running, load.running, load.finished, load.run_s)
    last = rates.last
    if last is None:
        return replace(rates, last=now)
    seconds = (now.at - last.at).total_seconds()
    if seconds <= 0 or now.finished < last.finished or now.run_s < last.run_s:
        return rates if seconds == 0 else replace(rates, last=now)
    finished = now.finished - last.finished
    arrived = max(0, finished + now.live - last.live) / seconds
    keep = math.exp(-finished / c.SERVICE_MEMORY_TASKS)
    return Rates(
        last=now,
        # 窗口不短于一个任务：否则一个长任务的到来会被当成一阵突发
        fast=_blend(rates.fast, arrived, seconds, max(c.ARRIVALS_FAST_S, rates.service_s)),
        slow=_blend(rates.slow, arrived, seconds, max(c.ARRIVALS_SLOW_S, rates.service_s)),
        busy_s=rates.busy_s * keep + (last.running + now.running) / 2 * seconds,
        ran_s=rates.ran_s * keep + now.run_s - last.run_s,
        samples=rates.samples * keep + finished,
    )


def _blend(old: float, new: float, seconds: float, window_s: float) -> float:
    return new + (old - new) * math.exp(-seconds / window_s)
