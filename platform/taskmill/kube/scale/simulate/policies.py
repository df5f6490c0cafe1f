"""Who decides: our own `decide()`, and HPA, KEDA and Knative as their documents describe them.

Sources: Kubernetes "Horizontal Pod Autoscaling" (algorithm, behavior defaults), KEDA "Scaling Deployments" and
"Redis Streams" (lagCount, polling interval, cooldown), Knative "Autoscaler" (stable and panic windows).
They are re-implementations, not the programs. None of them knows which pods are busy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from taskmill import constants as c
from taskmill.kube.scale import decide as scaler
from taskmill.kube.scale import demand
from taskmill.kube.scale.decide import Decision, Inputs, Memory, Pods
from taskmill.kube.scale.demand import Term
from taskmill.kube.scale.simulate.traces import Setup
from taskmill.kube.scale.simulate.world import Policy, Reading

SYNC_S = 15.0  # kube-controller-manager --horizontal-pod-autoscaler-sync-period
TOLERANCE = 0.1
STABILIZATION_S = 300.0
UP_PERCENT, UP_PODS = 100, 4  # 每 15 秒，取大者
KEDA_POLL_S, KEDA_COOLDOWN_S = 30.0, 300.0
KEDA_LAG = 5  # lagCount 的默认值
TUNED_S = 60.0
PATIENCE_S = 3_600.0  # 宽限一小时：不中断，但节点回收时未必给得了
KPA_TICK_S, KPA_STABLE_S, KPA_PANIC_S = 2.0, 60.0, 6.0
KPA_TARGET, KPA_PANIC_AT, KPA_DOWN, KPA_ZERO_S = 0.7, 2.0, 0.5, 30.0


class Ours:
    """`decide()` with drain."""

    name = "taskmill"
    period_s = c.OPERATOR_TICK_S
    drains = True
    grace_s = None

    def __init__(self, setup: Setup, terms: Collection[Term] = demand.OPTIONAL) -> None:
        self._setup, self._terms = setup, terms
        self._memory = Memory()
        self.last: Decision | None = None

    @property
    def horizon_s(self) -> float:
        """How far ahead it asks for timers."""
        return scaler.horizon_s(self._memory)

    def pods(self, now: float, reading: Reading | None, pods: Pods) -> int:
        """Decide."""
        boot_s = reading.boot_s if reading is not None else None
        inputs = Inputs(now=now, load=reading, pods=pods, concurrency=self._setup.concurrency, boot_s=boot_s)
        self.last = scaler.decide(inputs, self._setup.spec, self._memory, terms=self._terms)
        self._memory = self.last.memory
        return self.last.pods


class Hpa:
    """HPA v2 on an external metric with an AverageValue target: ready + running, one pod's slots each."""

    drains = False
    grace_s: float | None = None
    horizon_s = 0.0
    period_s = SYNC_S

    def __init__(
        self,
        setup: Setup,
        name: str = "hpa",
        *,
        metric: Callable[[Reading], int] | None = None,
        target: int | None = None,
        stabilization_s: float = STABILIZATION_S,
    ) -> None:
        self.name = name
        self._low, self._high = max(1, setup.spec.min_replicas), setup.spec.max_replicas
        self._metric = metric or _both
        self._target = target or setup.concurrency
        self._stabilization_s = stabilization_s
        self._recommended: list[tuple[float, int]] = []
        self._history: list[tuple[float, int]] = []

    def pods(self, now: float, reading: Reading | None, pods: Pods) -> int:
        """Synchronise once; an unknown metric changes nothing."""
        current = pods.serving
        if reading is None or current == 0:
            return current or self._low
        total = self._metric(reading)
        close = abs(total / (self._target * current) - 1) <= TOLERANCE
        wanted = current if close else math.ceil(total / self._target)
        self._recommended = [one for one in self._recommended if one[0] > now - self._stabilization_s]
        self._recommended.append((now, wanted))
        if wanted < current:
            wanted = min(current, max(number for _, number in self._recommended))
        self._history = [one for one in self._history if one[0] > now - SYNC_S]
        base = self._history[0][1] if self._history else current
        wanted = min(wanted, max(math.ceil(base * (1 + UP_PERCENT / 100)), base + UP_PODS))
        self._history.append((now, current))
        return min(self._high, max(self._low, wanted))


class Keda:
    """KEDA: 0 to 1 and back by polling, between 1 and the maximum an HPA on the same metric."""

    drains = False
    grace_s: float | None = None
    horizon_s = 0.0

    def __init__(
        self,
        setup: Setup,
        name: str,
        *,
        metric: Callable[[Reading], int],
        target: int,
        poll_s: float = KEDA_POLL_S,
        cooldown_s: float = KEDA_COOLDOWN_S,
        stabilization_s: float = STABILIZATION_S,
        grace_s: float | None = None,
    ) -> None:
        self.grace_s = grace_s
        self.name, self.period_s = name, min(poll_s, SYNC_S)
        self._hpa = Hpa(setup, metric=metric, target=target, stabilization_s=stabilization_s)
        self._metric, self._poll_s, self._cooldown_s = metric, poll_s, cooldown_s
        self._min = setup.spec.min_replicas
        self._active = 0.0
        self._polled = self._synced = -math.inf

    def pods(self, now: float, reading: Reading | None, pods: Pods) -> int:
        """Poll and synchronise when each is due; an unknown metric changes nothing."""
        number = pods.serving
        if now - self._polled >= self._poll_s - 1e-6 and reading is not None:
            self._polled = now
            if self._metric(reading) > 0:
                self._active = now
                number = number or max(1, self._min)
            elif now - self._active >= self._cooldown_s:
                return self._min
        if number and number == pods.serving and now - self._synced >= SYNC_S - 1e-6:
            self._synced = now
            number = self._hpa.pods(now, reading, pods)
        return number


@dataclass(slots=True)
class _Panic:
    since: float
    floor: int


class Kpa:
    """Knative's pod autoscaler on concurrency (ready + running), 70 % of the slots, stable and panic windows."""

    name = "kpa"
    drains = False
    grace_s: float | None = None
    horizon_s = 0.0
    period_s = KPA_TICK_S

    def __init__(self, setup: Setup) -> None:
        self._target = setup.concurrency * KPA_TARGET
        self._low, self._high = setup.spec.min_replicas, setup.spec.max_replicas
        self._seen: list[tuple[float, int]] = []
        self._panic: _Panic | None = None
        self._busy = 0.0

    def pods(self, now: float, reading: Reading | None, pods: Pods) -> int:
        """Tick."""
        current = pods.serving
        if reading is None:
            return current
        work = reading.ready + reading.running
        self._seen = [one for one in self._seen if one[0] > now - KPA_STABLE_S]
        self._seen.append((now, work))
        if work:
            self._busy = now
        stable = math.ceil(self._mean(now - KPA_STABLE_S) / self._target)
        panic = math.ceil(self._mean(now - KPA_PANIC_S) / self._target)
        wanted = self._panicked(now, stable, panic, max(1, pods.ready))
        wanted = max(wanted, math.floor(current * KPA_DOWN))
        if not work and now - self._busy >= KPA_STABLE_S + KPA_ZERO_S:
            wanted = 0
        elif current or work:
            wanted = max(1, wanted)
        return min(self._high, max(self._low, wanted))

    def _mean(self, since: float) -> float:
        values = [value for moment, value in self._seen if moment > since]
        return sum(values) / len(values)

    def _panicked(self, now: float, stable: int, panic: int, ready: int) -> int:
        if panic / ready >= KPA_PANIC_AT:
            self._panic = _Panic(now, max(panic, self._panic.floor if self._panic else 0))
        elif self._panic is not None and now - self._panic.since >= KPA_STABLE_S:
            self._panic = None
        return max(stable, panic, self._panic.floor) if self._panic else stable


def _both(reading: Reading) -> int:
    return reading.ready + reading.running


def baselines(setup: Setup) -> list[Policy]:
    """Return fresh instances of everything that ours is compared with."""
    size = setup.concurrency
    return [
        Hpa(setup),
        Keda(setup, "keda-lag", metric=lambda reading: reading.ready, target=KEDA_LAG),
        Keda(setup, "keda", metric=_both, target=size),
        Keda(
            setup, "keda-tuned", metric=_both, target=size, poll_s=c.OPERATOR_TICK_S, cooldown_s=TUNED_S,
            stabilization_s=TUNED_S,
        ),
        Keda(
            setup, "keda-patient", metric=_both, target=size, poll_s=c.OPERATOR_TICK_S, cooldown_s=TUNED_S,
            stabilization_s=TUNED_S, grace_s=PATIENCE_S,
        ),
        Kpa(setup),
    ]  # fmt: skip
