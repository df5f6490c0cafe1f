"""What the plan says of pods that do not come up, and of what they died of."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from taskmill.kube import constants as c
from taskmill.kube.state import (
    RecordDeath,
)
from tests.unit.kube.lab import running
from tests.unit.kube.objects import at, condition, load, of, pod, worker


@pytest.mark.parametrize(
    ("container", "status", "reason"),
    [
        ({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}, {}, "ImagePullFailed"),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}},
            {},
            "WorkersFailing",
        ),
        ({"restartCount": 5, "ready": False}, {}, "WorkersFailing"),
        (
            {},
            {
                "conditions": [
                    {"type": "Ready", "status": "False"},
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3",
                        "lastTransitionTime": at(-90),
                    },
                ]
            },
            "WorkersUnschedulable",
        ),
    ],
)
def test_why_workers_do_not_come_up(container: dict[str, Any], status: dict[str, Any], reason: str) -> None:
    lab = running(1)
    lab.workers.clear()
    lab.pods["p0"] = pod("p0", ready=False, container=container, status=status)
    made = lab.round()
    assert condition(made, "Ready") == ("False", reason)
    assert reason in [event.reason for event in made.events]


NO_ROOM = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu",
    "lastTransitionTime": at(-90),
}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "until", "ready"),
    [
        ("t0", 1000.0, ("RollingOut", "True")),
        ("t1", 1000.0, ("WorkersStarting", "True")),  # 同一个模板：驱逐、缩容之后又扩容
        ("t0", -c.UNSCHEDULABLE_S, ("WorkersUnschedulable", "True")),  # 时限早过了还在：不会自己走了
    ],
)
def test_new_workers_that_wait_for_the_room_of_old_ones_are_no_fault(old: str, until: float, ready: tuple[str, str]) -> None:
    """The old pod ends its task, the Deployment counts it no more, and there is room for one only."""
    lab = running(1)
    lab.workers.clear()
    lab.pods["p0"] = pod(
        "p0", phase="Pending", ready=False, status={"conditions": [{"type": "Ready", "status": "False"}, NO_ROOM]}
    )
    lab.pods["old"] = pod("old", template=old, metadata={"deletionTimestamp": at(until)})
    made = lab.round()
    assert condition(made, "Ready") == ("False", ready[0])
    assert condition(made, "Reconciling")[0] == ready[1]
    assert ("WorkersUnschedulable" in {event.reason for event in made.events}) is (ready[0] == "WorkersUnschedulable")


def test_a_rollout_that_waits_for_old_workers_to_finish_is_not_stalled() -> None:
    lab = running(2)
    deployment, (old,) = lab.state().deployment, lab.state().replica_sets
    assert deployment is not None
    deployment["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    ]
    newer = copy.deepcopy(old)
    newer["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2"
    newer["metadata"]["labels"]["pod-template-hash"] = "t2"
    lab.facts |= {"deployment": deployment, "replica_sets": (old, newer)}
    lab.pods["p1"] = pod("p1", template="t2", phase="Pending", ready=False, status={"conditions": [NO_ROOM]})
    lab.pods["old"] = pod("old", metadata={"deletionTimestamp": at(1000)})
    made = lab.round()
    assert condition(made, "Ready") == ("False", "RollingOut")
    assert condition(made, "Stalled")[0] == "False"


@pytest.mark.parametrize(
    ("message", "reason"), [("exceeded quota: pods=3", "QuotaExceeded"), ("violates PodSecurity", "PodsRefused")]
)
def test_why_pods_are_not_made(message: str, reason: str) -> None:
    lab = running(1)
    lab.pods.clear()
    lab.workers.clear()
    deployment = lab.state().deployment
    assert deployment is not None
    deployment["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": message}]
    lab.facts["deployment"] = deployment
    assert condition(lab.round(), "Ready") == ("False", reason)


def test_a_rollout_that_is_stuck_stalls() -> None:
    lab = running(1)
    deployment, (old,) = lab.state().deployment, lab.state().replica_sets
    assert deployment is not None
    deployment["status"]["conditions"] = [
        {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": "timed out",
        }
    ]
    newer = copy.deepcopy(old)
    newer["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2"
    lab.facts |= {"deployment": deployment, "replica_sets": (old, newer)}
    made = lab.round()
    assert condition(made, "Stalled") == ("True", "RolloutStuck")
    assert not made.rolling  # 卡住的不占名额


# kubelet 驱逐时找不到容器了：没有结束的时刻
UNSEEN: dict[str, Any] = {"container": {"state": {"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}}}}
EVICTED = {
    "reason": "Evicted",
    "startTime": at(-600),
    "conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "lastTransitionTime": at(-9)}
    ],
}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            {"container": {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": at(-5)}}}},
            "oom",
        ),
        ({"container": {"lastState": {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": at(-5)}}}}, "crash"),
        ({"container": {"lastState": {"terminated": {"reason": "Completed", "exitCode": 0, "finishedAt": at(-5)}}}}, None),
        ({"container": {"lastState": {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": at(-900)}}}}, None),
        (
            {
                "container": {"state": {"terminated": {"exitCode": 143, "finishedAt": at(-5)}}},
                "status": {
                    "conditions": [
                        {
                            "type": "DisruptionTarget",
                            "status": "True",
                            "reason": "PreemptionByScheduler",
                            "lastTransitionTime": at(-9),
                        },
                    ]
                },
            },
            "evicted",
        ),
        (
            {
                "status": {
                    "conditions": [
                        {
                            "type": "DisruptionTarget",
                            "status": "True",
                            "reason": "DeletionByTaintManager",
                            "lastTransitionTime": at(-9),
                        },
                    ]
                }
            },
            "node_lost",
        ),
        (
            {
                "container": {"state": {"terminated": {"exitCode": 137, "finishedAt": at(-5)}}},
                "status": {"reason": "Evicted", "startTime": at(-600)},
            },
            "evicted",
        ),
        (UNSEEN | {"status": {"phase": "Failed", **EVICTED}}, "evicted"),
        (UNSEEN | {"status": {"phase": "Running", **EVICTED}}, None),
        (UNSEEN | {"status": {"phase": "Failed"}}, None),
    ],
)
def test_how_a_container_died_is_told_to_the_database(changes: dict[str, Any], cause: str | None) -> None:
    lab = running(1)
    lab.pods["p0"] = pod("p0", **changes)
    assert [action.cause for action in of(lab.round(), RecordDeath)] == ([cause] if cause else [])
    lab.workers.clear()
    assert of(lab.round(), RecordDeath) == []


def test_a_worker_that_died_in_the_second_in_which_it_started_is_told_too() -> None:
    lab = running(1)
    lab.workers["p0"] = worker("p0", started=-4.4)
    lab.pods["p0"] = pod(
        "p0", container={"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": at(-5)}}}
    )
    assert [action.cause for action in of(lab.round(), RecordDeath)] == ["oom"]


def test_a_busy_pod_taken_by_scaling_in_is_counted_once() -> None:
    lab = running(2)
    lab.pods["p1"] = pod("p1", metadata={"deletionTimestamp": at()})
    lab.workers["p1"] = replace(lab.workers["p1"], running=2)
    assert lab.round().status["interruptedTotal"] == 0  # 没有记忆就不计
    lab.facts["interrupted_known"] = frozenset()
    made = lab.round()
    assert (made.status["interruptedTotal"], made.interrupted) == (2, ("uid-p1",))
    lab.facts["interrupted_known"] = frozenset({"uid-p1"})
    assert lab.round().status["interruptedTotal"] == 2


def test_numbers_are_rounded() -> None:
    lab = running(2)
    lab.facts["load"] = load(ready=12_345, running=7, wait_s=123.4)
    work = lab.round().status["work"]
    assert (work["ready"], work["running"], work["oldestWaitSeconds"], work["source"]) == (12_000, 7, 120, "Postgres")
    assert "lastActiveTime" in lab.manifest["status"]["scaling"]


def test_a_restart_writes_no_status_before_the_first_decision() -> None:
    lab = running(2)
    before = copy.deepcopy(lab.manifest["status"])
    lab.facts["decision"] = None
    assert lab.round().status == before
    lab.manifest["status"].pop("scaling")
    assert "scaling" not in lab.round().status  # 空的 scaling 经服务端应用会变成 null
