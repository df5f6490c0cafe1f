"""Green lights mean work: what the workers say of broker, plugins and kinds becomes conditions, reasons and events."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from taskmill.kube import constants as c
from taskmill.kube.plan.lights import troubles_of
from taskmill.kube.state import Plan
from taskmill.services.fleet import Order, Troubles
from tests.unit.kube.lab import Lab, deleted, running
from tests.unit.kube.objects import at, condition, load, worker

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


@pytest.mark.parametrize("leaving", ["ordered", "by itself", "terminating"])
def test_who_is_on_its_way_out_is_not_asked(leaving: str) -> None:
    lab, found, _ = told(away(60), None)
    assert found["BrokerReachable"][0] == "False"
    name = min(lab.workers)
    if leaving == "terminating":
        lab.pods[name]["metadata"]["deletionTimestamp"] = at(30)
    elif leaving == "ordered":
        lab.workers[name] = replace(lab.workers[name], order=Order.DRAIN)
    else:
        lab.workers[name] = replace(lab.workers[name], draining=True)
    assert condition(lab.round(), "BrokerReachable") == ("True", "Reachable")


def test_while_writing_is_paused_and_while_it_is_deleted_the_lights_go_on() -> None:
    lab, _, _ = told(away(60))
    name = next(iter(lab.workers))
    lab.manifest["metadata"]["annotations"] = {"taskmill.dev/paused": "true"}
    lab.workers[name] = replace(lab.workers[name], troubles=Troubles())
    made = lab.round()
    assert condition(made, "Ready")[1] == "Paused"
    assert condition(made, "BrokerReachable") == ("True", "Reachable")
    del lab.manifest["metadata"]["annotations"]
    lab.workers[name] = replace(lab.workers[name], troubles=away(60), order=Order.DRAIN)
    made = deleted(lab, finalizers=["taskmill.dev/drain"]).round()
    assert condition(made, "BrokerReachable") == ("Unknown", "Unknown")  # 再没有人说它连不上，也就不再告警


def rolling_lab(old: Troubles, new: Troubles | None) -> Plan:
    """Return the plan of a rollout: one worker of the old template, and one of the new if it has registered."""
    lab = running(2)
    p0, p1 = sorted(lab.workers)
    lab.pods[p1]["metadata"]["labels"]["pod-template-hash"] = "t2"
    lab.workers[p0] = replace(lab.workers[p0], troubles=old)
    lab.workers[p1] = replace(lab.workers[p1], troubles=new or Troubles())
    if new is None:
        del lab.workers[p1]
    first = lab.state().replica_sets[0]
    newer = copy.deepcopy(first)
    newer["metadata"]["labels"]["pod-template-hash"] = "t2"
    newer["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2"
    lab.facts["replica_sets"] = (first, newer)
    return lab.round()


@pytest.mark.parametrize(
    ("old", "new", "ready", "reconciling"),
    [
        (away(60), Troubles(), "RollingOut", "RollingOut"),  # 新的已经连上：旧的不作数
        (away(60), None, "BrokerUnreachable", "RollingOut"),  # 新的还没有登记，只有旧的可问
        (Troubles(), away(60), "BrokerUnreachable", "RollingOut"),  # 新的连不上：滚动因此不会有进展
        (Troubles(), Troubles(declined=["x:1"]), "RollingOut", "RollingOut"),  # 在来的也许就做这个类型
    ],
)
def test_during_a_rollout_the_graver_reason_stands_and_the_rollout_is_told(
    old: Troubles, new: Troubles | None, ready: str, reconciling: str
) -> None:
    made = rolling_lab(old, new)
    assert condition(made, "Ready") == ("False", ready)
    assert condition(made, "Reconciling") == ("True", reconciling)
    assert "RolloutStarted" in {event.reason for event in made.events}


def test_a_kind_that_a_worker_elsewhere_serves_is_served() -> None:
    lab, found, _ = told(Troubles(declined=["pay.charge:2"]))
    assert found["KindsServed"][0] == "False"
    lab.facts["load"] = replace(load(), elsewhere=("pay.charge:2",))
    assert condition(lab.round(), "KindsServed")[0] == "True"


def test_workers_that_are_no_pods_of_the_queue_change_no_light_for_the_worse() -> None:
    lab, _, _ = told(Troubles(declined=["pay.charge:2"]))
    lab.workers["guest"] = replace(worker("guest"), kinds=("pay.charge:2",), troubles=away(60))
    made = lab.round()
    assert condition(made, "BrokerReachable")[0] == condition(made, "KindsServed")[0] == "True"
    lab.workers["guest"] = replace(lab.workers["guest"], queues=("other",))
    assert condition(lab.round(), "KindsServed")[0] == "False"


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
