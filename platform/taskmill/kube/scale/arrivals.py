"""What the counters of a queue say about its traffic: how much arrives, and how long a task takes.

Pure: `observe(load, rates)` returns the rates after one more sample. Arrivals are counted, not sampled: what has
finished since the last look plus what the queue gained. The mean service time is slot time over finished tasks
(Little's law), so that long tasks that still run raise it too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from taskmill import constants as c
from taskmill.kube import constants as kc


class Load(Protocol):
    """The counters of one queue, as `QueueLoad` has them; times are those of PostgreSQL's clock.

    `finished` is a total since a start that stays the same from sample to sample.
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
        """Tasks that ended since the start."""
        ...

    @property
    def at(self) -> datetime:
        """When this was counted."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """What is kept of the last look; `busy` are slots that run something."""

    at: datetime
    live: int
    busy: int
    finished: int


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean run time that forgets old tasks: slot time over finished tasks."""

    busy_s: float = 0.0
    samples: float = 0.0

    def add(self, busy_s: float, finished: int, memory: float) -> Mean:
        """Return the mean after `finished` more tasks and `busy_s` more seconds of slots."""
        keep = math.exp(-finished / memory)
        return Mean(self.busy_s * keep + busy_s, self.samples * keep + finished)

    @property
    def seconds(self) -> float:
        """The mean; until enough tasks have finished, blended with a prior."""
        prior = max(0.0, kc.SERVICE_PRIOR_SAMPLES - self.samples)
        return max(kc.SERVICE_MIN_S, (self.busy_s + prior * kc.SERVICE_PRIOR_S) / max(self.samples + prior, 1.0))


@dataclass(frozen=True, slots=True)
class Rates:
    """Running estimates, each by a quick and a slow average, from a look at the queue every `tick_s` seconds."""

    last: Sample | None = None
    fast: float = 0.0
    slow: float = 0.0
    recent: Mean = Mean()
    usual: Mean = Mean()
    tick_s: float = c.OPERATOR_TICK_S

    def arrivals(self, oldest_wait_s: float) -> float:
        """Return tasks per second: the slow average, or the fast one if it is higher and tasks do wait.

        While nothing waits, a rise of the fast average is noise, and following it costs pods.
        """
        return max(self.slow, self.fast) if self._waits(oldest_wait_s) else self.slow

    @property
    def service_s(self) -> float:
        """The usual mean run time in seconds."""
        return self.usual.seconds

    def pessimistic_s(self, oldest_wait_s: float) -> float:
        """Return the mean run time in seconds, that of late if it is longer and tasks do wait."""
        return max(self.usual.seconds, self.recent.seconds) if self._waits(oldest_wait_s) else self.usual.seconds

    @property
    def known(self) -> bool:
        """Say whether enough tasks have finished to rely on their mean run time."""
        return self.usual.samples >= kc.SERVICE_PRIOR_SAMPLES

    def _waits(self, oldest_wait_s: float) -> bool:
        return oldest_wait_s > self.tick_s / 2


def observe(load: Load, rates: Rates, slots: int) -> Rates:
    """Return the rates after `load`, with so many slots to run on.

    A sample whose counters or clock went backwards only becomes the new start.
    """
    # running 里还有预取而未跑的，槽数以外的不算忙
    now = Sample(load.at, load.ready + load.running, min(load.running, slots), load.finished)
    last = rates.last
    if last is None:
        return replace(rates, last=now)
    seconds = (now.at - last.at).total_seconds()
    if seconds <= 0 or now.finished < last.finished:
        return rates if seconds == 0 else replace(rates, last=now)
    finished = now.finished - last.finished
    arrived = max(0, finished + now.live - last.live) / seconds
    busy_s = (last.busy + now.busy) / 2 * seconds
    # 窗口不短于一个任务：否则一个长任务的到来会被当成一阵突发
    service_s = rates.service_s
    return replace(
        rates,
        last=now,
        fast=_blend(rates.fast, arrived, seconds, max(kc.ARRIVALS_FAST_S, service_s)),
        slow=_blend(rates.slow, arrived, seconds, max(kc.ARRIVALS_SLOW_S, service_s)),
        recent=rates.recent.add(busy_s, finished, kc.SERVICE_RECENT_TASKS),
        usual=rates.usual.add(busy_s, finished, kc.SERVICE_USUAL_TASKS),
    )


def _blend(old: float, new: float, seconds: float, window_s: float) -> float:
    return new + (old - new) * math.exp(-seconds / window_s)
