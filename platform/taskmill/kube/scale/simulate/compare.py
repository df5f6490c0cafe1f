"""Runs traces under ours and the baselines, and holds the bars."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from taskmill.kube import phrases
from taskmill.kube.scale import demand
from taskmill.kube.scale.demand import Term
from taskmill.kube.scale.simulate.policies import Ours, baselines
from taskmill.kube.scale.simulate.traces import Trace
from taskmill.kube.scale.simulate.world import Policy, Record, World
from taskmill.words import Words

OURS = Ours.name
POD_HOURS_RATIO = 1.2  # 相对每个达到目标的基线，最多多花多少 Pod 小时
BARS_AGAINST = frozenset({"hpa", "keda-lag", "keda", "keda-tuned", "keda-patient"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run in figures; a start is late when it came more than the objective after its due time."""

    trace: str
    policy: str
    starts: int
    late: int
    late_percent: float
    p50_s: float
    p95_s: float
    p99_s: float
    pod_hours: float
    interrupted: int
    lost_hours: float
    actions: int
    met: bool


def simulate(trace: Trace, policy: Policy, seed: int) -> tuple[Result, Record]:
    """Return figures and record of one run."""
    record = World(trace, policy, seed).run()
    waits = sorted(record.waits)
    objective = trace.setup.spec.start_latency_s
    late = sum(wait > objective for wait in waits)
    share = late / len(waits) if waits else 0.0
    result = Result(
        trace=trace.name, policy=policy.name, starts=len(waits), late=late, late_percent=round(100 * share, 2),
        p50_s=_quantile(waits, 0.5), p95_s=_quantile(waits, 0.95), p99_s=_quantile(waits, 0.99),
        pod_hours=round(record.pod_s / 3600, 2), interrupted=record.interrupted,
        lost_hours=round(record.lost_s / 3600, 2), actions=record.actions,
        met=share <= 1 - trace.setup.spec.percentile / 100,
    )  # fmt: skip
    return result, record


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 1)


def compare(trace: Trace, seed: int, terms: Collection[Term] = demand.OPTIONAL) -> list[Result]:
    """Return the figures of one trace: ours first, then each baseline."""
    policies: list[Policy] = [Ours(trace.setup, terms), *baselines(trace.setup)]
    return [simulate(trace, policy, seed)[0] for policy in policies]


def violations(results: Sequence[Result]) -> list[Words]:
    """Return what breaks the bars, one sentence each: nothing late or interrupted beyond any rival, at a fair price."""
    broken: list[Words] = []
    for ours in (result for result in results if result.policy == OURS):
        rivals = [result for result in results if result.trace == ours.trace and result.policy in BARS_AGAINST]
        for rival in rivals:
            where = {"trace": ours.trace, "rival": rival.policy}
            if ours.late > rival.late:
                broken.append(phrases.MORE_LATE(**where, ours=ours.late, theirs=rival.late))
            if ours.interrupted > rival.interrupted:
                broken.append(phrases.MORE_INTERRUPTED(**where, ours=ours.interrupted, theirs=rival.interrupted))
            if rival.met and ours.pod_hours > POD_HOURS_RATIO * rival.pod_hours:
                broken.append(phrases.DEARER(**where, ours=ours.pod_hours, ratio=POD_HOURS_RATIO, theirs=rival.pod_hours))
    broken += _totals(results)
    return broken


def _totals(results: Sequence[Result]) -> list[Words]:
    def total(policy: str) -> tuple[int, int]:
        mine = [result for result in results if result.policy == policy]
        return sum(result.late for result in mine), sum(result.interrupted for result in mine)

    ours = total(OURS)
    return [
        phrases.NOT_FEWER(rival=rival, ours=ours, theirs=total(rival))
        for rival in sorted(BARS_AGAINST) if sum(ours) >= sum(total(rival))
    ]  # fmt: skip


def rows(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return the results as plain objects."""
    return [asdict(result) for result in results]
