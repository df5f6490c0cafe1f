"""A real node for the session; without `make test/cluster/node`, which enters the namespaces first, nothing here is collected."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.commands import Commands
from tests.cluster.kubelet.api import Api, Cluster
from tests.cluster.node.inside import entered
from tests.cluster.node.network import Doors
from tests.cluster.node.node import Node, flags_of_plane
from tests.cluster.node.release import Release, restricted
from tests.cluster.operator_support import QueueSpace
from tests.cluster.plane import ControlPlane
from tests.support.charts import CRDS_CHART

collect_ignore_glob = [] if entered() else ["test_*.py"]


@pytest.fixture(scope="session")
def plane(programs: None, server_root: Path) -> Iterator[ControlPlane]:
    """The control plane of the session, that pods reach."""
    root = server_root / "plane"
    with ControlPlane(root, flags=flags_of_plane(root)) as started:
        yield started


@pytest.fixture(scope="session")
def node(plane: ControlPlane, server_root: Path) -> Iterator[Node]:
    """Its only node."""
    with Node(server_root / "node", plane) as started:
        yield started


@pytest.fixture(scope="session")
def doors() -> Iterator[Doors]:
    """How pods reach the servers of this process."""
    with Doors() as started:
        yield started


@pytest.fixture(scope="session")
def crds(helm: Callable[..., str]) -> None:
    """The custom resources, by their chart."""
    helm("install", "crds", str(CRDS_CHART), "-n", "default", "--wait")


@pytest.fixture
def namespace(commands: Commands, node: Node) -> Iterator[str]:
    """A fresh namespace that takes restricted pods only."""
    name = f"node-{secrets.token_hex(4)}"
    commands.kubectl("create", "-f", "-", stdin=json.dumps(restricted(name)))
    commands.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=80s")
    yield name
    commands.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def release(
    commands: Commands, namespace: str, crds: None, doors: Doors, empty_database_url: str, broker_url: str, tmp_path: Path
) -> Release:
    """The chart, not yet installed, with the Secrets of an empty database and a broker."""
    made = Release(commands, tmp_path, namespace, empty_database_url, broker_url)
    for name, url in (("app-db", empty_database_url), ("app-broker", broker_url)):
        data = {"url": base64.b64encode(doors.url(url).encode()).decode()}
        made.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
    return made


@pytest.fixture
async def space(kubeconfig: Path, namespace: str) -> AsyncIterator[QueueSpace]:
    """The namespace, for waiting for what becomes of its objects."""
    async with Api(Cluster(kubeconfig)) as api:
        yield QueueSpace(api, namespace)
