"""The bars against HPA and KEDA on short traces; `taskmill scale simulate --all` holds them on the long ones."""

from __future__ import annotations

from functools import cache

import pytest

from taskmill.kube.scale.demand import OPTIONAL, Term
from taskmill.kube.scale.simulate import compare, synthetic
from taskmill.kube.scale.simulate.policies import Ours

pytestmark = pytest.mark.no_cover  # 数行的追踪让这里慢上几倍；每一行另有测试走过
SEED, SHORTEN = 1, 0.3


@cache
def results() -> list[compare.Result]:
    return [result for name in synthetic.NAMES for result in compare.compare(synthetic.build(name, SEED, SHORTEN), SEED)]


def test_no_bar_is_broken() -> None:
    assert compare.violations(results()) == []


def test_scale_in_interrupts_nothing_where_others_do() -> None:
    interrupted = {
        policy: sum(result.interrupted for result in results() if result.policy == policy)
        for policy in {result.policy for result in results()}
    }
    assert interrupted[compare.OURS] == 0
    assert min(interrupted[name] for name in ("hpa", "keda", "keda-lag", "keda-tuned")) > 0


def test_ours_meets_the_objective_wherever_the_database_is_not_the_limit() -> None:
    missed = [result.trace for result in results() if result.policy == compare.OURS and not result.met]
    assert missed == ["db-bottleneck"]


@pytest.mark.parametrize(
    ("term", "name", "others"),
    [
        (Term.TIMERS, "timers", OPTIONAL),
        (Term.BACKLOG, "long-bursts", OPTIONAL),
        (Term.LOAD, "short-diurnal", OPTIONAL - {Term.FLOOR}),  # Erlang C 会替它兜底
        (Term.FLOOR, "tight-objective", OPTIONAL),
    ],
)
def test_every_term_is_needed_somewhere(term: Term, name: str, others: frozenset[Term]) -> None:
    trace = synthetic.build(name, SEED, SHORTEN)
    whole, _ = compare.simulate(trace, Ours(trace.setup, others), SEED)
    without, _ = compare.simulate(trace, Ours(trace.setup, others - {term}), SEED)
    assert without.late > whole.late


def test_the_bars_can_break() -> None:
    swapped = {"taskmill": "hpa", "hpa": "taskmill"}
    turned = [
        compare.Result(**{**row, "policy": swapped.get(str(row["policy"]), row["policy"])})  # type: ignore[arg-type]
        for row in compare.rows(results())
    ]
    assert compare.violations(turned)
