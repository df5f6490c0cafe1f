"""Green lights mean work: what the workers say of broker, plugins and kinds becomes conditions, reasons and events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taskmill.kube import constants as c
from taskmill.kube.plan.lights import troubles_of
from taskmill.services.fleet import Troubles
from tests.unit.kube.lab import Lab, running

REFUSED = "DENIED Redis is running in protected mode"


def told(*said: Troubles | None, **spec: Any) -> tuple[Lab, dict[str, tuple[str, str, str]], list[str]]:
    """Return the lab, its conditions (status, reason, message) and events, when its workers say this of themselves."""
    lab = running(len(said), **spec)
    for name, troubles in zip(sorted(lab.workers), said, strict=True):
        lab.workers[name] = replace(lab.workers[name], troubles=troubles or Troubles(), kinds=("mail.send:1",))
    made = lab.round()
    found = {each["type"]: (each["status"], each["reason"], each["message"]) for each in made.status["conditions"]}
    return lab, found, [event.reason for event in made.events]


def away(seconds: int) -> Troubles:
    return Troubles(broker=REFUSED, broker_s=seconds)


def test_workers_that_have_no_troubles_say_so() -> None:
    _, found, _ = told(None, None)
    assert found["BrokerReachable"][:2] == ("True", "Reachable")
    assert found["KindsServed"][:2] == ("True", "Served")
    assert found["Ready"][:2] == ("True", "AsDesired")


@pytest.mark.parametrize(("seconds", "reached"), [(c.BROKER_AWAY_S - 1, "True"), (c.BROKER_AWAY_S, "False")])
def test_a_broker_counts_as_away_after_a_while(seconds: int, reached: str) -> None:
    _, found, _ = told(None, away(seconds))
    assert (found["BrokerReachable"][0], found["Ready"][0]) == (reached, reached)


def test_the_words_of_the_server_are_in_condition_and_event() -> None:
    _, found, events = told(None, away(60))
    assert found["BrokerReachable"] == ("False", "BrokerUnreachable", f"1 of 2 workers: {REFUSED}")
    assert found["Ready"][1:] == ("BrokerUnreachable", f"1 of 2 workers: {REFUSED}")
    assert "BrokerUnreachable" in events


def test_kinds_that_no_worker_serves_are_named_with_the_plugins_that_failed() -> None:
    failed = Troubles(declined=["pay.charge:2"], plugins={"pay": "not up within 5 s"})
    _, found, events = told(failed, None)
    message = "tasks wait that no worker serves: pay.charge:2; plugin pay: not up within 5 s"
    assert found["KindsServed"] == ("False", "KindsNotServed", message)
    assert found["Ready"][:2] == ("False", "KindsNotServed")
    assert "KindsNotServed" in events


def test_a_kind_that_one_worker_declines_and_another_serves_is_served() -> None:
    _, found, _ = told(Troubles(declined=["mail.send:1"]), None)
    assert found["KindsServed"][0] == "True"


def test_a_plugin_that_the_spec_names_and_that_failed_is_a_worker_that_fails() -> None:
    failed = Troubles(plugins={"pay": "not up within 5 s", "other": "nobody asked for it"})
    _, found, events = told(failed, plugins=[{"name": "pay"}])
    assert found["Ready"] == ("False", "WorkersFailing", "plugin pay: not up within 5 s")
    assert "WorkersFailing" in events
    _, found, _ = told(failed)
    assert found["Ready"][0] == "True"  # 没有点名的，等它的任务来了再说


def test_without_a_worker_nothing_is_known() -> None:
    _, found, _ = told()
    assert found["BrokerReachable"][:2] == found["KindsServed"][:2] == ("Unknown", "Unknown")


def test_what_was_said_stays_while_the_database_does_not_answer() -> None:
    lab, _, _ = told(away(60))
    lab.facts["workers"] = None
    found = {each["type"]: each["status"] for each in lab.round().status["conditions"]}
    assert found["BrokerReachable"] == "False"


def test_what_makes_no_difference_wakes_nobody() -> None:
    lab, _, _ = told(away(60))
    (worker,) = lab.workers.values()
    assert troubles_of(worker) == troubles_of(replace(worker, troubles=away(65)))
    assert troubles_of(worker) != troubles_of(replace(worker, troubles=Troubles()))
    assert troubles_of(replace(worker, troubles=away(1))) == troubles_of(replace(worker, troubles=Troubles()))
