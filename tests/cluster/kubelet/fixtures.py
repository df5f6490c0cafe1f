"""The nodes of the session's control plane."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.kubelet.context import Pace
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.support import cannot_run

REFRESH_S = 2.0


@pytest.fixture(scope="session")
def nodes(kubeconfig: Path, kubectl: Callable[..., str], server_root: Path) -> Iterator[Kubelet]:
    """The kubelet of the session: two nodes, `node-0` and `node-1`, whose pods are processes of this machine."""
    if reason := cannot_run():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    if os.environ.get("TASKMILL_TEST_KUBECONFIG") and (names := foreign(kubectl)):
        pytest.skip(
            f"a test of pods that are processes; TASKMILL_TEST_KUBECONFIG gives a cluster with nodes of its own: {names[0]}"
        )
    root = Path(tempfile.mkdtemp(prefix="kubelet-", dir=server_root))
    with Kubelet(kubeconfig, root, pace=Pace(refresh_s=REFRESH_S)) as kubelet:
        yield kubelet


def foreign(kubectl: Callable[..., str]) -> list[str]:
    """Return the names of nodes that no process kubelet plays: nobody may add ours to a cluster in use."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    versions = {node["metadata"]["name"]: node["status"]["nodeInfo"]["containerRuntimeVersion"] for node in nodes}
    return [name for name, version in versions.items() if not version.startswith("process://")]
