"""From an empty namespace to an empty namespace: the image, the chart and restricted Pod Security on a real node."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.kube import names
from tests.cluster.node.node import Node
from tests.cluster.node.release import NAME, PATIENCE_S, Release
from tests.cluster.operator_support import QueueSpace, reason_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900), pytest.mark.slow]
WORDS = "hello from a container"
VALUES: dict[str, Any] = {
    "api": {"replicas": 2},
    "taskQueues": {
        "jobs": {
            "plugins": [{"name": "shell", "config": {"allow": "/bin/echo"}}],
            "scaling": {"minReplicas": 1, "maxReplicas": 2},
            "drain": {"timeoutSeconds": 30},
        }
    },
    "test": {"kind": "shell.run", "args": {"argv": ["/bin/echo", WORDS]}, "queue": "jobs"},
}


async def test_a_restricted_namespace_runs_all_roles_until_uninstall_leaves_nothing_but_the_pod_of_helm_test(
    release: Release, space: QueueSpace, node: Node
) -> None:
    before = set(node.containerd.containers())
    release.install(**VALUES)
    await space.serving("jobs", 1, timeout=PATIENCE_S)
    told = release.helm("test", NAME, "--logs", f"--timeout={PATIENCE_S}s")
    assert "Succeeded" in told
    assert WORDS in told

    pods = release.get("pods")["items"]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods} >= {"api", "operator", "scheduler"}
    restarts = {each["name"]: each["restartCount"] for pod in pods for each in pod["status"]["containerStatuses"]}
    assert not any(restarts.values()), restarts
    (worker,) = release.get("pods", "-l", names.selector_text("jobs"))["items"]
    told = release.kubectl("exec", worker["metadata"]["name"], "--", "sh", "-c", "id -u; touch /x 2>&1 || touch /tmp/x")
    assert told.splitlines() == ["10001", "touch: cannot touch '/x': Read-only file system"]

    release.uninstall()
    assert release.get("deploy,tq,pdb,sa,roles,services", "-l", f"app.kubernetes.io/instance={NAME}")["items"] == []
    release.kubectl("delete", "pod", f"{NAME}-taskmill-test")  # Helm 不收走测试的 Pod；别的 Pod 在它答完之后还在退
    await eventually(lambda: not release.get("pods")["items"], timeout=PATIENCE_S, poll=0.5, why="no pod is left")
    await eventually(lambda: set(node.containerd.containers()) <= before, poll=0.5, why="no container is left")


async def test_an_upgrade_of_the_release_touches_no_worker(release: Release, space: QueueSpace) -> None:
    release.install(taskQueues=VALUES["taskQueues"])
    await space.serving("jobs", 1, timeout=PATIENCE_S)
    before = workers(release)
    release.install("upgrade", taskQueues=VALUES["taskQueues"], scheduler={"replicas": 1, "podLabels": {"changed": "yes"}})
    release.helm("rollback", NAME, "1", "--wait", f"--timeout={PATIENCE_S}s")
    queue = await space.serving("jobs", 1)
    assert reason_of(queue, "Migrated") == "UpToDate"
    assert workers(release) == before


def workers(release: Release) -> set[str]:
    """The pods of the queue, by their ids."""
    return {pod["metadata"]["uid"] for pod in release.get("pods", "-l", names.selector_text("jobs"))["items"]}
