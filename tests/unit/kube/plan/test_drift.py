"""What differs from what was applied, and whose it is: edits are set right, what a policy made of our own apply is not."""

from __future__ import annotations

import copy

import pytest

from taskmill.kube import names
from taskmill.kube.plan import drift
from taskmill.kube.plan.drift import owns
from taskmill.kube.plan.plan import plan
from taskmill.kube.state import Apply, Recall
from tests.unit.kube.lab import running
from tests.unit.kube.objects import of

FIELDS = {
    "f:metadata": {"f:annotations": {".": {}, "f:taskmill.dev/image": {}}, "f:ownerReferences": {'k:{"uid":"u1"}': {}}},
    "f:spec": {
        "f:strategy": {},
        "f:template": {
            "f:spec": {
                "f:tolerations": {},
                "f:containers": {
                    'k:{"name":"worker"}': {
                        ".": {}, "f:image": {}, "f:args": {}, "f:resources": {"f:limits": {"f:cpu": {}}},
                        "f:ports": {'k:{"containerPort":8801,"protocol":"TCP"}': {"f:name": {}}},
                    }
                },
            }
        },
    },
}  # fmt: skip
CONTAINER = "spec.template.spec.containers[worker]"


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("metadata.annotations.taskmill.dev/image", True),
        ("metadata.annotations.taskmill.dev/image-other", False),
        ("metadata.annotations.other", False),
        ("metadata.ownerReferences[u1].controller", True),
        ("spec.strategy.rollingUpdate.maxSurge", True),
        ("spec.replicas", False),
        (f"{CONTAINER}.image", True),
        (f"{CONTAINER}.args[0]", True),
        (f"{CONTAINER}.resources.limits.cpu", True),
        (f"{CONTAINER}.resources.limits.memory", False),
        (f"{CONTAINER}.ports[8801].name", True),
        ("spec.template.spec.containers[proxy].image", False),
        ("spec.template.spec.tolerations", True),
        ("spec.template.spec.tolerations[0].key", True),
    ],
)
def test_a_path_leads_through_the_managed_fields(path: str, ours: bool) -> None:
    entry = {"manager": names.CONTROLLER, "operation": "Apply", "fieldsV1": FIELDS}
    assert owns({"metadata": {"managedFields": [entry]}}, names.CONTROLLER, path) is ours
    assert not owns({"metadata": {"managedFields": [{**entry, "manager": "kubectl"}]}}, names.CONTROLLER, path)
    assert not owns({"metadata": {}}, names.CONTROLLER, path)


def test_what_an_admission_policy_rewrote_when_we_applied_it_is_not_set_right() -> None:
    lab = running()
    deployment = lab.objects["Deployment"]
    desired = copy.deepcopy(deployment)
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/taskmill:1"
    rewritten = drift.differences(desired, deployment)
    assert [path for path, _ in rewritten] == ["spec.template.spec.containers[worker].image"]
    lab.facts["rewritten"] = {"Deployment": frozenset(rewritten)}
    made = lab.round()
    assert (of(made, Apply), made.events) == ([], ())
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "evil.example/miner:1"  # 别的改动照样改回
    assert [event.reason for event in lab.round().events] == ["DriftCorrected"]


def test_after_a_restart_it_is_asked_who_changed_a_field_before_it_is_set_right() -> None:
    lab = running()
    lab.facts["rewritten"] = {"Deployment": None}
    assert lab.round().actions == ()  # 没有差异就不用问
    lab.objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/taskmill:1"
    made = plan(lab.state())
    assert [type(action) for action in made.actions] == [Recall]
    assert (made.events, made.requeue_s) == ((), 0.0)
