"""A cluster in fast motion: pods boot, take tasks, finish them, drain or are killed, while a policy says how many to have.

Deterministic: the same trace, policy and seed give the same run. Dispatch is first come, first served to the pod with
the most free slots. A scale-in either drains (cordon, finish, delete, taken back when demand returns) or does what a
ReplicaSet does: pods that are not ready first, then the newest; SIGTERM, and SIGKILL after the grace period.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from taskmill.kube.scale.decide import Pods, choose_victims
from taskmill.kube.scale.simulate.traces import Task, Trace

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
STEP_S = 5.0  # 抽样画图与收走已排空 Pod 的间隔
BACKOFF_S = 2.0  # 失败后第一次重试的退避，之后翻倍
BACKOFF_SPREAD = (0.5, 1.0)
SLOWDOWN = 1.2  # 超过数据库拐点后，每个任务变慢的指数：> 1 表示争用让总吞吐下降
OVERTIME = 3.0  # 做不完时最多跑到时长的几倍


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters that a policy sees; the shape of QueueLoad, and how long the newest ready pod took to boot."""

    ready: int
    running: int
    due_soon: int
    oldest_wait_s: float
    finished: int
    at: datetime
    boot_s: float | None


class Policy(Protocol):
    """What says how many pods to have, and how pods leave."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    @property
    def period_s(self) -> float:
        """How often it decides, in seconds."""
        ...

    @property
    def horizon_s(self) -> float:
        """How far ahead it looks for tasks that will be due, in seconds."""
        ...

    @property
    def drains(self) -> bool:
        """Whether pods leave by cordon, finish, delete."""
        ...

    @property
    def grace_s(self) -> float | None:
        """The grace period when pods are simply deleted, in seconds; None: that of the setup."""
        ...

    def pods(self, now: float, reading: Reading | None, pods: Pods) -> int:
        """Return the wanted number of pods, those that drain not counted; `reading` is None while unknown."""
        ...


@dataclass(slots=True, eq=False)
class Pod:
    """One pod; `running` are the attempts on it."""

    number: int
    created: float
    ready_at: float
    ready: bool = False
    leaving: float | None = None  # 从何时起不再接活
    gone: float | None = None
    runs: dict[int, Attempt] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Tasks on it."""
        return len(self.runs)

    @property
    def started_at(self) -> datetime:
        """When it became ready."""
        return EPOCH + timedelta(seconds=self.ready_at)


@dataclass(slots=True, eq=False)
class Attempt:
    """One try of a task, due at `due`."""

    number: int
    task: Task
    due: float
    tries: int = 0
    started: float = 0.0


@dataclass(slots=True)
class Record:
    """What happened: waits of all starts, interruptions, scale actions, pod time, and samples for the chart."""

    waits: list[float] = field(default_factory=list)
    interrupted: int = 0
    lost_s: float = 0.0
    actions: int = 0
    pod_s: float = 0.0
    samples: list[tuple[float, int, int, int]] = field(default_factory=list)  # (时刻, Pod 数, 待执行, 执行中)


class World:
    """Runs one trace under one policy."""

    def __init__(self, trace: Trace, policy: Policy, seed: int) -> None:
        self._trace, self._policy, self._setup = trace, policy, trace.setup
        self._boots = random.Random(f"boot/{seed}")  # noqa: S311  可重现的模拟，不是密码学
        self._backoffs = random.Random(f"backoff/{seed}")  # noqa: S311
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._queue: deque[Attempt] = deque()
        self._pods: list[Pod] = []
        self._created = 0
        self._attempts = 0
        self._left = len(trace.tasks)
        self._running = 0
        self._finished = 0
        self._boot_s: float | None = None
        self._retries: list[float] = []  # 已知的将来：重试的到期时刻
        self._future = sorted(task.due for task in trace.tasks if task.known < task.due)
        self.now = 0.0
        self.record = Record()

    def run(self) -> Record:
        """Play the trace to its end, and on until all tasks are done or it is hopeless."""
        for task in self._trace.tasks:
            self._at(task.due, self._arrive, Attempt(self._number(), task, task.due))
        for _ in range(self._setup.spec.min_replicas):
            self._create(boot_s=0.0)
        self._at(0.0, self._tick)
        self._at(0.0, self._step)
        end, limit = self._trace.duration_s, self._trace.duration_s * OVERTIME
        while self._heap:
            moment, _, what, facts = heapq.heappop(self._heap)
            if moment > limit or (moment > end and not self._left):
                break
            self.now = moment
            what(*facts)
        self._close(min(max(self.now, end), limit))
        return self.record

    def _at(self, moment: float, what: Callable[..., None], *facts: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (moment, self._order, what, facts))

    def _number(self) -> int:
        self._attempts += 1
        return self._attempts

    # ── 任务 ──
    def _arrive(self, attempt: Attempt) -> None:
        if attempt.tries:
            self._retries.remove(attempt.due)
        self._queue.append(attempt)
        free = [pod for pod in self._pods if pod.ready and pod.leaving is None and pod.running < self._setup.concurrency]
        if free:
            self._feed(min(free, key=lambda pod: pod.running))

    def _feed(self, pod: Pod) -> None:
        while self._queue and pod.leaving is None and pod.running < self._setup.concurrency:
            attempt = self._queue.popleft()
            attempt.started = self.now
            self.record.waits.append(self.now - attempt.due)
            pod.runs[attempt.number] = attempt
            self._running += 1
            service = attempt.task.service_s
            if self._setup.knee is not None and self._running > self._setup.knee:
                service *= (self._running / self._setup.knee) ** SLOWDOWN
            self._at(self.now + service, self._finish, pod, attempt.number)

    def _finish(self, pod: Pod, number: int) -> None:
        attempt = pod.runs.pop(number, None)
        if attempt is None:
            return  # 被中断了，已回到队列
        self._running -= 1
        if attempt.tries >= attempt.task.failures:  # 与真的一样，只有终态计入 finished
            self._finished += 1
            self._left -= 1
        else:
            wait = BACKOFF_S * 2**attempt.tries * self._backoffs.uniform(*BACKOFF_SPREAD)
            due = self.now + wait
            self._retries.append(due)
            self._at(due, self._arrive, Attempt(self._number(), attempt.task, due, attempt.tries + 1))
        self._feed(pod)
        if pod.leaving is not None and not pod.runs and not self._policy.drains:
            self._remove(pod)

    def _interrupt(self, pod: Pod) -> None:
        for attempt in pod.runs.values():
            self.record.interrupted += 1
            self.record.lost_s += self.now - attempt.started
            self._running -= 1
            again = Attempt(self._number(), attempt.task, self.now, attempt.tries)
            if again.tries:
                self._retries.append(again.due)
            self._arrive(again)
        pod.runs.clear()

    # ── Pod ──
    def _create(self, boot_s: float | None = None) -> None:
        drawn = self._boots.uniform(*self._setup.boot_s)
        pod = Pod(self._created, self.now, self.now + (drawn if boot_s is None else boot_s))
        self._created += 1
        self._pods.append(pod)
        self._at(pod.ready_at, self._ready, pod)

    def _ready(self, pod: Pod) -> None:
        if pod.gone is None and pod.leaving is None:
            pod.ready = True
            if self.now > pod.created:
                self._boot_s = self.now - pod.created
            self._feed(pod)

    def _kill(self, pod: Pod) -> None:
        """宽限期（或排空时限）到：还在跑的被中断。"""
        overdue = pod.leaving is not None and self.now - pod.leaving >= self._patience() - 1e-6
        if pod.gone is None and overdue:
            self._interrupt(pod)
            self._remove(pod)

    def _patience(self) -> float:
        if self._policy.drains:
            return self._setup.drain_timeout_s
        return self._setup.grace_s if self._policy.grace_s is None else self._policy.grace_s

    def _remove(self, pod: Pod) -> None:
        pod.gone = self.now
        self._pods.remove(pod)
        self.record.pod_s += self.now - pod.created

    def _leave(self, pod: Pod) -> None:
        pod.leaving = self.now
        if pod.runs or self._policy.drains:
            self._at(self.now + self._patience(), self._kill, pod)
        else:
            self._remove(pod)

    # ── 伸缩 ──
    def _tick(self) -> None:
        self._at(self.now + self._policy.period_s, self._tick)
        known = not any(begin <= self.now < end for begin, end in self._setup.outages)
        serving = [pod for pod in self._pods if pod.leaving is None]
        ready = sum(pod.ready for pod in serving)
        leaving = [pod for pod in self._pods if pod.leaving is not None]
        counts = Pods(ready, len(serving) - ready, len(leaving), sum(pod.running for pod in leaving))
        wanted = self._policy.pods(self.now, self._reading() if known else None, counts)
        if wanted != len(serving):
            self.record.actions += 1
            self._scale(wanted, serving, leaving)

    def _reading(self) -> Reading:
        until = self.now + self._policy.horizon_s
        soon = bisect_right(self._future, until) - bisect_left(self._future, self.now)
        soon += sum(due <= until for due in self._retries)
        oldest = self.now - min(attempt.due for attempt in self._queue) if self._queue else 0.0
        return Reading(
            len(self._queue), self._running, soon, oldest, self._finished,
            EPOCH + timedelta(seconds=self.now), self._boot_s,
        )  # fmt: skip

    def _scale(self, wanted: int, serving: list[Pod], leaving: list[Pod]) -> None:
        missing = wanted - len(serving)
        if missing > 0:
            back = sorted(leaving, key=lambda pod: pod.running)[:missing] if self._policy.drains else []
            for pod in back:  # 先收回正在离开的：立即可用，不花钱
                pod.leaving = None
                self._feed(pod)
            for _ in range(missing - len(back)):
                self._create()
            return
        starting = sorted((pod for pod in serving if not pod.ready), key=lambda pod: -pod.created)[:-missing]
        for pod in starting:
            pod.leaving = self.now
            self._remove(pod)
        rest = -missing - len(starting)
        ready = [pod for pod in serving if pod.ready]
        newest = sorted(ready, key=lambda pod: -pod.ready_at)[:rest]
        for pod in choose_victims(ready, rest) if self._policy.drains else newest:
            self._leave(pod)

    def _step(self) -> None:
        self._at(self.now + STEP_S, self._step)
        if self._policy.drains:
            for pod in [pod for pod in self._pods if pod.leaving is not None and not pod.runs]:
                if self.now > (pod.leaving or 0.0):
                    self._remove(pod)
        self.record.samples.append((self.now, len(self._pods), len(self._queue), self._running))

    def _close(self, end: float) -> None:
        self.now = end
        for pod in list(self._pods):
            self._remove(pod)
        self.record.waits.extend(end - attempt.due for attempt in self._queue)
