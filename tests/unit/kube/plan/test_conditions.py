"""Conditions keep the time of their last transition; every transition gives one event; every reason is documented."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from taskmill.kube.plan import conditions
from taskmill.kube.plan.conditions import Verdict
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.scale.decide import ActiveReason, Limit
from tests.unit.kube.objects import NOW, at

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "conditions.md"


def test_a_status_that_stays_keeps_its_time() -> None:
    first = conditions.merge([], [Verdict("Ready", True, "AsDesired", "a")], 1, NOW)
    later = NOW + timedelta(seconds=60)
    same = conditions.merge(first, [Verdict("Ready", True, "AsDesired", "b")], 2, later)
    assert (same[0]["lastTransitionTime"], same[0]["message"], same[0]["observedGeneration"]) == (at(), "b", 2)
    other = conditions.merge(first, [Verdict("Ready", None, "Paused")], 2, later)
    assert (other[0]["status"], other[0]["lastTransitionTime"]) == ("Unknown", at(60))


def test_order_and_bounds() -> None:
    made = conditions.merge([], [Verdict("Draining", False, "None"), Verdict("Ready", False, "X", "y" * 5000)], 1, NOW)
    assert [each["type"] for each in made] == ["Ready", "Draining"]
    assert len(made[0]["message"]) == 1000


@pytest.mark.parametrize(
    ("kind", "old", "new", "events"),
    [
        ("Ready", "", "ImagePullFailed", ["ImagePullFailed"]),
        ("Ready", "ImagePullFailed", "ImagePullFailed", []),
        ("Ready", "Paused", "AsDesired", ["Resumed"]),
        ("Migrated", "", "UpToDate", []),
        ("Migrated", "JobRunning", "UpToDate", []),  # 迁移的这两个事件由要这个 Job 的队列自己发
        ("Migrated", "JobRunning", "JobFailed", ["MigrationFailed"]),
        ("ScalingActive", "FallbackActive", "Computing", ["FallbackDeactivated"]),
        ("ScalingActive", "FallbackActive", "MetricsStale", ["FallbackDeactivated", "MetricsStale"]),
        ("Draining", "WorkersDraining", "None", ["DrainCompleted"]),
        ("Draining", "", "None", []),
        ("Draining", "None", "WorkersDraining", ["DrainStarted"]),
    ],
)
def test_events_of_transitions(kind: conditions.Type, old: str, new: str, events: list[str]) -> None:
    before = [{"type": kind, "status": "True", "reason": old}] if old else []
    after = conditions.merge(before, [Verdict(kind, True, new, "m")], 1, NOW)
    assert [event.reason for event in conditions.transitions(before, after)] == events


def test_the_reasons_of_the_scaler_are_among_ours() -> None:
    known = {reason.value for reason in Reason}
    assert {each.value for each in (*ActiveReason, *Limit)} <= known


def test_every_reason_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = [reason.value for reason in Reason if f"| `{reason.value}` | {reason.about} |" not in text]
    assert missing == []


def test_every_event_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    made = {name for _, name in conditions._ENTERED.values()} | set(conditions._LEFT.values())
    made |= {
        "MigrationCompleted", "DrainCompleted", "ScaledUp", "ScaledDown", "Activated", "Deactivated", "RolloutStarted",
        "RolloutCompleted", "DriftCorrected",
    }  # fmt: skip
    assert [name for name in sorted(made) if f"| `{name}` |" not in text] == []


def test_reason_of_a_status() -> None:
    assert conditions.reason_of([], "Ready") == ""
    assert conditions.reason_of([{"type": "Ready", "reason": "X"}], "Ready") == "X"
