"""Who owns a setting of a queue: what the spec says is the operator's, what it never said is left to others."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.controls.rate import Rate
from taskmill.kube.state import PutPolicy
from taskmill.services.fleet import QueuePolicy
from tests.unit.kube.lab import Lab
from tests.unit.kube.objects import queue

RATE = {"limit": 600, "periodSeconds": 60}


def lab_of(policy: dict[str, Any] | None = None, **settings: Any) -> Lab:
    """A settled TaskQueue whose queue has these settings in the database, as somebody else set them."""
    lab = Lab(queue(**({} if policy is None else {"policy": policy})))
    lab.policy = QueuePolicy(
        settings={"retention_s": None, "max_running": None, "rate": None, "max_backlog": None} | settings
    )
    lab.settle()
    return lab


def writes(lab: Lab) -> list[dict[str, Any]]:
    return [action.change.values() for action in lab.round().actions if isinstance(action, PutPolicy)]


def reported(lab: Lab) -> dict[str, Any] | None:
    return lab.manifest["status"]["queue"].get("policy")


def test_what_the_spec_says_is_written_and_reported() -> None:
    lab = lab_of({"maxRunning": 5, "rate": RATE})
    assert lab.policy.settings["max_running"] == 5
    assert lab.policy.settings["rate"] == {"limit": 600, "period_s": 60.0, "burst": 600}
    assert reported(lab) == {"maxRunning": 5, "rate": RATE}
    assert writes(lab) == []


def test_what_somebody_sets_beside_the_spec_is_left_alone() -> None:
    lab = lab_of({"maxRunning": 5}, max_backlog=100)
    assert lab.policy.settings["max_backlog"] == 100
    assert "maxBacklog" not in (reported(lab) or {})
    assert writes(lab) == []


def test_what_somebody_sets_against_the_spec_is_set_back() -> None:
    lab = lab_of({"maxRunning": 5})
    lab.policy = QueuePolicy(settings={**lab.policy.settings, "max_running": 50})
    assert writes(lab) == [{"max_running": 5}]
    assert lab.policy.settings["max_running"] == 5


@pytest.mark.parametrize("rest", [{"maxBacklog": 9}, {}, None])
def test_what_leaves_the_spec_is_given_back(rest: dict[str, Any] | None) -> None:
    lab = lab_of({"maxRunning": 5, "maxBacklog": 9} if rest else {"maxRunning": 5})
    if rest is None:
        del lab.manifest["spec"]["policy"]
    else:
        lab.manifest["spec"]["policy"] = rest
    assert writes(lab) == [{"max_running": None}]
    assert reported(lab) == (rest or None)
    lab.policy = QueuePolicy(settings={**lab.policy.settings, "max_running": 50})  # 之后谁设都行
    assert writes(lab) == []


def test_what_the_database_has_no_column_for_waits_for_the_migration() -> None:
    lab = lab_of()
    lab.manifest["spec"]["policy"] = {"maxRunning": 5, "maxBacklog": 9}
    lab.policy = QueuePolicy(settings={"retention_s": None, "max_running": None})
    assert writes(lab) == [{"max_running": 5}]
    assert reported(lab) == {"maxRunning": 5}
    lab.policy = QueuePolicy(settings={**lab.policy.settings, "max_backlog": None})
    assert writes(lab) == [{"max_backlog": 9}]


def test_a_queue_that_the_database_does_not_know_gets_all_of_it() -> None:
    lab = Lab(queue(policy={"maxRunning": 5, "rate": RATE}))
    lab.settle()
    assert lab.policy.settings == {"max_running": 5, "rate": {"limit": 600, "period_s": 60.0, "burst": 600}}


def test_the_settings_of_a_queue_are_none_of_its_pods() -> None:
    plain, limited = Lab(queue()), Lab(queue(policy={"maxRunning": 5}))
    for lab in (plain, limited):
        lab.settle()
    assert plain.objects["Deployment"] == limited.objects["Deployment"]


def test_a_rate_of_the_spec_is_one_of_rest() -> None:
    assert Rate(limit=600, period_s=60.0).whole() == Rate(limit=600, period_s=60.0, burst=600)
