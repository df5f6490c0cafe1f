"""Rarer turns of the plan: what is told while a drain is late, a rollout ends, the policy is unknown, siblings are wrong."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta

from taskmill.kube.plan.plan import plan
from taskmill.kube.state import Create, DatabaseFact, OrderWorkers, PutPolicy, RecordDeath, Scale
from taskmill.services.fleet import Order
from tests.unit.kube.lab import Lab
from tests.unit.kube.objects import NOW, at, condition, decision, of, pod, queue, replica_set, state, worker


def running(pods: int = 2, **spec: object) -> Lab:
    lab = Lab(queue(**spec), {"decision": decision(pods)})
    lab.settle()
    return lab


def test_an_unknown_policy_is_neither_written_nor_forgotten() -> None:
    lab = running(1)
    known = lab.manifest["status"]["queue"]
    lab.manifest["spec"]["stopPolicy"] = "Hold"
    lab.facts["policy"] = None
    made = lab.round()
    assert of(made, PutPolicy) == []
    assert made.status["queue"] == known
    assert "queue" not in plan(state(policy=None)).status


def test_a_late_drain_is_told_once() -> None:
    lab = running(2)
    lab.workers["p0"] = replace(lab.workers["p0"], running=4, order=Order.DRAIN, order_token=7, order_seen=7)
    lab.facts |= {"decision": decision(1), "drain_since": {"uid-p0": NOW - timedelta(seconds=30)}}
    made = lab.round()
    assert condition(made, "Draining") == ("True", "WorkersDraining")
    assert (made.status["drainingReplicas"], made.status["busyReplicas"]) == (1, 1)
    lab.facts["drain_since"] = {"uid-p0": NOW - timedelta(seconds=601)}
    made = lab.round()
    assert condition(made, "Draining") == ("True", "DrainTimedOut")
    assert [event.reason for event in made.events] == ["DrainTimedOut"]
    assert lab.round().events == ()


def test_a_pod_that_starts_is_looked_at_again() -> None:
    lab = running(1)
    lab.workers.clear()
    assert lab.round().requeue_s <= 120


def test_a_rollout_begins_and_ends_with_one_event_each() -> None:
    lab = running(2)
    first = lab.manifest["status"]["revision"]
    lab.manifest["spec"]["concurrency"] = 3
    assert [event.reason for event in lab.round().events] == ["RolloutStarted"]
    deployment = lab.state().deployment
    assert deployment is not None
    old = copy.deepcopy(replica_set(deployment, ready=1, replicas=1, name="t0"))
    lab.facts["replica_sets"] = (old, replica_set(deployment, ready=1, replicas=1, name="t1", revision=2))
    rolling = lab.round()
    assert (rolling.rolling, rolling.events, condition(rolling, "Ready")) == (True, (), ("False", "RollingOut"))
    assert rolling.status["revision"]["current"] == first["current"]
    del lab.facts["replica_sets"]
    ended = lab.round()
    assert ("RolloutCompleted" in [event.reason for event in ended.events], ended.rolling) == (True, False)


def test_to_zero_and_back_is_told() -> None:
    lab = running(1)
    lab.facts["decision"] = decision(0)
    lab.round()
    lab.obey()
    assert of(lab.round(), Scale)[0].replicas == 0
    assert "Deactivated" in [event.reason for event in lab.log]


def test_growing_takes_back_workers_that_leave() -> None:
    lab = running(3)
    lab.facts["decision"] = decision(1)
    lab.round()
    lab.facts["decision"] = decision(3)
    made = lab.round()
    assert of(made, OrderWorkers)[0].order is Order.RUN
    assert of(made, Scale) == []


def test_siblings_with_a_wrong_spec_count_for_nothing() -> None:
    made = plan(state(siblings=(queue("broken", concurrency=0), queue("other"))))
    owners = of(made, Create)[0].manifest["metadata"]["ownerReferences"]
    assert [owner["name"] for owner in owners] == ["emails", "other"]


def test_an_image_of_ones_own_is_used_at_once() -> None:
    made = plan(state(queue(image="mine:1")))
    assert of(made, Create)[0].manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "mine:1"


def test_while_the_database_is_away_drift_is_still_corrected() -> None:
    lab = running(1)
    lab.facts |= {"database": DatabaseFact("d1d2d3d4d5d6d7d8", "refused", 60.0), "workers": None, "load": None}
    lab.objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] = 9
    assert [event.reason for event in lab.round().events] == ["DriftCorrected", "DatabaseUnreachable"]


def test_a_lost_node_is_told_though_no_container_ended() -> None:
    gone = pod("p0", metadata={"deletionTimestamp": at(-1)}, status={"reason": "NodeLost"})
    lab = running(1)
    lab.pods["p0"] = gone
    assert [(action.cause, action.pod_uid) for action in of(lab.round(), RecordDeath)] == [("node_lost", "uid-p0")]


def test_the_same_state_gives_the_same_plan() -> None:
    lab = running(3)
    lab.facts["decision"] = decision(1)
    facts = lab.state()
    assert plan(facts) == plan(facts)
    assert plan(replace(facts, workers=(worker("p0"), worker("p1"), worker("p2")))).actions


def test_before_the_first_look_at_the_database_nothing_is_taken_back() -> None:
    lab = running(2)
    lab.workers["p0"] = replace(lab.workers["p0"], running=4, order=Order.DRAIN, order_token=7, order_seen=7)
    lab.facts["decision"] = decision(1)
    before = copy.deepcopy(lab.round().status)
    lab.facts |= {"workers": None, "load": None, "decision": None, "policy": None}
    made = lab.round()
    assert (made.actions, made.events, made.status) == (
        (),
        (),
        {**before, "desiredReplicas": made.status["desiredReplicas"]},
    )
