"""Whose a field is, by the paths in which differences are told."""

from __future__ import annotations

import pytest

from taskmill.kube import names
from taskmill.kube.plan.owners import owns

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
