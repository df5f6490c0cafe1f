"""Made-up traces, each with a load that is known to be hard for some scaler. The same seed gives the same trace."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from taskmill.kube.scale.decide import ScalingSpec
from taskmill.kube.scale.simulate.traces import Setup, Task, Trace, make

HOUR = 3600.0
LONG_DRAIN_S = 4 * HOUR
SHORT = ScalingSpec(max_replicas=40, start_latency_s=30)
SHORT_WARM = ScalingSpec(max_replicas=40, start_latency_s=30, min_replicas=1)
FROM_ZERO = ScalingSpec(max_replicas=40, start_latency_s=60)
LONG = ScalingSpec(max_replicas=40, start_latency_s=120)


def _poisson(rng: random.Random, rate: Callable[[float], float], peak: float, until: float) -> Iterator[float]:
    """变速泊松过程，稀释法。"""
    moment = 0.0
    while (moment := moment + rng.expovariate(peak)) < until:
        if rng.random() < rate(moment) / peak:
            yield moment


def _lognormal(rng: random.Random, mean: float, sigma: float) -> float:
    return rng.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


def _task(due: float, service_s: float) -> Task:
    return Task(due, service_s, due)


def _sine(low: float, high: float, period: float) -> Callable[[float], float]:
    return lambda moment: low + (high - low) * (1 - math.cos(2 * math.pi * moment / period)) / 2


def short_diurnal(rng: random.Random, scale: float) -> Trace:
    """Short tasks whose rate rises and falls like a day."""
    until = 4 * HOUR * scale
    dues = _poisson(rng, _sine(0.5, 10, until / 2), 10, until)
    return make("short-diurnal", [_task(due, _lognormal(rng, 2, 0.8)) for due in dues], Setup(spec=SHORT_WARM))


def long_diurnal(rng: random.Random, scale: float) -> Trace:
    """Tasks of ten minutes whose rate rises and falls like a day."""
    until = 8 * HOUR * scale
    dues = _poisson(rng, _sine(0.005, 0.06, until / 2), 0.06, until)
    tasks = [_task(due, _lognormal(rng, 600, 0.5)) for due in dues]
    return make("long-diurnal", tasks, Setup(spec=LONG, drain_timeout_s=LONG_DRAIN_S))


def short_bursts(rng: random.Random, scale: float) -> Trace:
    """Bursts of short tasks with nothing between them, from zero pods."""
    until = 4 * HOUR * scale
    tasks = [
        _task(begin + rng.uniform(0, 10), _lognormal(rng, 5, 0.5))
        for begin in _every(rng, 1200, until) for _ in range(rng.randint(60, 140))
    ]  # fmt: skip
    return make("short-bursts", tasks, Setup(spec=FROM_ZERO))


def long_bursts(rng: random.Random, scale: float) -> Trace:
    """Bursts of tasks of ten minutes, from zero pods."""
    until = 8 * HOUR * scale
    tasks = [
        _task(begin + rng.uniform(0, 30), _lognormal(rng, 600, 0.6))
        for begin in _every(rng, 2400, until) for _ in range(rng.randint(30, 60))
    ]  # fmt: skip
    return make("long-bursts", tasks, Setup(spec=LONG, drain_timeout_s=LONG_DRAIN_S))


def _every(rng: random.Random, gap: float, until: float) -> Iterator[float]:
    moment = rng.uniform(30, 60)
    while moment < until:
        yield moment
        moment += gap * rng.uniform(0.8, 1.2)


def flash_crowd(rng: random.Random, scale: float) -> Trace:
    """A steady trickle that becomes ten times as much within a minute."""
    until = 2 * HOUR * scale
    start, length = until * 0.3, 600.0

    def rate(moment: float) -> float:
        rise = min(1.0, max(0.0, (moment - start) / 60))
        return 1 + 9 * rise if moment < start + length else 1.0

    dues = _poisson(rng, rate, 10, until)
    return make("flash-crowd", [_task(due, _lognormal(rng, 3, 0.6)) for due in dues], Setup(spec=SHORT_WARM))


def sparse_singles(rng: random.Random, scale: float) -> Trace:
    """One task every quarter of an hour, from zero pods."""
    until = 12 * HOUR * scale
    dues = _poisson(rng, lambda _: 1 / 900, 1 / 900, until)
    spec = ScalingSpec(max_replicas=40, start_latency_s=60, idle_s=60)  # 目标比启动时间长：不必留着空 Pod
    return make("sparse-singles", [_task(due, _lognormal(rng, 10, 0.5)) for due in dues], Setup(spec=spec))


def timers(rng: random.Random, scale: float) -> Trace:
    """Tasks scheduled an hour ahead, many for the same minute, from zero pods."""
    until = 4 * HOUR * scale
    tasks = [
        Task(begin + rng.uniform(0, 2), _lognormal(rng, 5, 0.5), begin - HOUR)
        for begin in _every(rng, 900, until) for _ in range(rng.randint(60, 140))
    ]  # fmt: skip
    return make("timers", tasks, Setup(spec=SHORT))


def heavy_tail(rng: random.Random, scale: float) -> Trace:
    """A steady rate of tasks of which a few run for very long (lognormal, sigma 1.1)."""
    until = 4 * HOUR * scale
    dues = _poisson(rng, lambda _: 0.5, 0.5, until)
    tasks = [_task(due, _lognormal(rng, 30, 1.1)) for due in dues]
    return make("heavy-tail", tasks, Setup(spec=LONG, drain_timeout_s=LONG_DRAIN_S))


def retry_storm(rng: random.Random, scale: float) -> Trace:
    """For some minutes every attempt fails, and all come back after their backoff."""
    until = 2 * HOUR * scale
    bad = (until * 0.3, until * 0.3 + 300)
    tasks = [
        Task(due, _lognormal(rng, 2, 0.5), due, failures=rng.randint(4, 6) if bad[0] < due < bad[1] else 0)
        for due in _poisson(rng, lambda _: 3, 3, until)
    ]
    return make("retry-storm", tasks, Setup(spec=SHORT_WARM))


def db_bottleneck(rng: random.Random, scale: float) -> Trace:
    """More load than the database behind the tasks bears: from 24 slots on, more slots give no more throughput."""
    until = 2 * HOUR * scale
    dues = _poisson(rng, _sine(2, 14, until), 14, until)
    return make("db-bottleneck", [_task(due, _lognormal(rng, 2, 0.5)) for due in dues], Setup(spec=SHORT_WARM, knee=24))


def metric_outage(rng: random.Random, scale: float) -> Trace:
    """The numbers cannot be read for ten minutes around the peak."""
    until = 2 * HOUR * scale
    dues = _poisson(rng, _sine(1, 8, until), 8, until)
    tasks = [_task(due, _lognormal(rng, 3, 0.6)) for due in dues]
    outage = (until * 0.55, until * 0.63)
    return make("metric-outage", tasks, Setup(spec=SHORT_WARM, outages=(outage,)))


def tight_objective(rng: random.Random, scale: float) -> Trace:
    """Tasks of a minute that should start within ten seconds, which is less than a pod needs to boot."""
    until = 4 * HOUR * scale
    dues = _poisson(rng, lambda _: 0.1, 0.1, until)
    spec = ScalingSpec(max_replicas=40, start_latency_s=10, min_replicas=1)
    return make("tight-objective", [_task(due, _lognormal(rng, 60, 0.8)) for due in dues], Setup(spec=spec))


def mix_change(rng: random.Random, scale: float) -> Trace:
    """Short tasks, and from one moment on tasks of a minute: all that was learned about run times is wrong."""
    until = 2 * HOUR * scale
    early = _poisson(rng, lambda moment: 8 if moment < until / 2 else 0, 8, until)
    late = _poisson(rng, lambda moment: 1.2 if moment >= until / 2 else 0, 1.2, until)
    tasks = [_task(due, _lognormal(rng, 1, 0.5)) for due in early] + [_task(due, _lognormal(rng, 60, 0.5)) for due in late]
    spec = ScalingSpec(max_replicas=40, start_latency_s=30, min_replicas=1)
    return make("mix-change", tasks, Setup(spec=spec))


MAKERS = (
    short_diurnal, long_diurnal, short_bursts, long_bursts, flash_crowd, sparse_singles, timers, heavy_tail, retry_storm,
    db_bottleneck, metric_outage, tight_objective, mix_change,
)  # fmt: skip
NAMES = tuple(maker.__name__.replace("_", "-") for maker in MAKERS)


def build(name: str, seed: int, scale: float = 1.0) -> Trace:
    """Return the synthetic trace `name`; `scale` shortens or lengthens it. Raises KeyError for an unknown name."""
    maker = dict(zip(NAMES, MAKERS, strict=True))[name]
    return maker(random.Random(f"{name}/{seed}"), scale)  # noqa: S311  可重现的模拟，不是密码学
