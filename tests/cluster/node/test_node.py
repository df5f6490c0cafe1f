"""The node is one: its version, its limits by cgroups, names and addresses of Services, the level of security."""

from __future__ import annotations

import pytest

from tests.cluster import build
from tests.cluster.commands import CommandError
from tests.cluster.node.node import NAME, Node
from tests.cluster.node.release import Release

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.slow]
IMAGE = "taskmill:test"
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LOOK = """
import socket, pathlib
print(socket.gethostbyname("kubernetes.default.svc"))
socket.create_connection(("kubernetes.default.svc", 443), 5)
print(pathlib.Path("/proc/self/status").read_text().split("Seccomp:")[1].split()[0])
print(pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").read_text())
"""


def pod(command: list[str], **security: object) -> dict[str, object]:
    """A pod of one command."""
    container = {
        "name": "main",
        "image": IMAGE,
        "command": command,
        "securityContext": {**SECURITY, **security},
        "resources": {"limits": {"memory": "64Mi"}},
    }
    spec = {"containers": [container], "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "look"}, "spec": spec}


def test_the_node_is_of_the_version_of_its_control_plane(release: Release, node: Node) -> None:
    info = release.get("node", NAME)["status"]["nodeInfo"]
    assert info["kubeletVersion"] == f"v{build.version('kubernetes')}"
    assert info["containerRuntimeVersion"].startswith("containerd://")


def test_a_pod_has_names_addresses_a_filter_and_a_limit(release: Release) -> None:
    release.apply(pod(["python3", "-c", LOOK]))
    release.kubectl("wait", "pod/look", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s")
    assert release.kubectl("logs", "look").split() == ["10.96.0.1", "2", str(64 * 1024 * 1024)]


def test_a_pod_that_is_not_restricted_is_refused(release: Release) -> None:
    with pytest.raises(CommandError, match="violates PodSecurity"):
        release.apply(pod(["true"], allowPrivilegeEscalation=True))
