"""A control plane for the session (or a given cluster), clients of it, and a namespace for each test."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config
from kubernetes.aio.dynamic import DynamicClient

from tests.cluster import binaries
from tests.cluster.commands import Commands
from tests.cluster.kubelet.fixtures import nodes  # noqa: F401 - pytest 按名字找它
from tests.cluster.operator_fixtures import bare, connected, crds, operators, scheduler, space  # noqa: F401 - pytest 按名字找它们
from tests.cluster.plane import ControlPlane, Flags
from tests.support.requires import missing

Run = Callable[..., str]
GIVEN = "TASKMILL_TEST_KUBECONFIG"  # 不用 KUBECONFIG：指着生产集群的人不该因为 make test 而出事


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where the programs are missing, keep one of the tests that need them: it is skipped and says why for all."""
    if os.environ.get("CI") == "true" or os.environ.get(GIVEN) or not binaries.absent():
        return
    needy = [item for item in items if programs.__name__ in getattr(item, "fixturenames", ())]
    for item in needy[1:]:
        items.remove(item)
    config.hook.pytest_deselected(items=needy[1:])


@pytest.fixture(scope="session")
def programs() -> None:
    """The programs of the control plane, or a cluster that somebody else runs."""
    if binaries.absent() and not os.environ.get(GIVEN):
        missing("the Kubernetes control plane", target="controlplane")


@pytest.fixture(scope="session")
def plane(programs: None, server_root: Path) -> Iterator[ControlPlane]:
    """The control plane of the session. A test that stops a part of it starts that part again."""
    if os.environ.get(GIVEN):
        pytest.skip(f"a test of our own control plane; {GIVEN} gives another cluster")
    with ControlPlane(server_root / "plane") as started:
        yield started


@pytest.fixture
def own_plane(programs: None, server_root: Path) -> Iterator[Callable[..., ControlPlane]]:
    """`own_plane(flags=…)`: a control plane that only this test has."""
    if binaries.absent():
        missing("the Kubernetes control plane", target="controlplane")
    with ExitStack() as stack:

        def start(*, flags: Flags | None = None) -> ControlPlane:
            root = Path(tempfile.mkdtemp(prefix="plane-", dir=server_root))
            return stack.enter_context(ControlPlane(root, flags=flags))

        yield start


@pytest.fixture(scope="session")
def kubeconfig(programs: None, request: pytest.FixtureRequest) -> Path:
    """The kubeconfig of the cluster under test, with all rights."""
    if given := os.environ.get(GIVEN):
        return Path(given).resolve()
    plane: ControlPlane = request.getfixturevalue("plane")
    return plane.kubeconfig


@pytest.fixture(scope="session")
def commands(kubeconfig: Path, server_root: Path) -> Commands:
    """Both clients with all rights."""
    return Commands(kubeconfig, server_root / "client-cache")


@pytest.fixture(scope="session")
def kubectl(commands: Commands) -> Run:
    """`kubectl("get", "pods", "-n", namespace)`, `kubectl("apply", "-f", "-", stdin=…)`: its output."""
    return commands.kubectl


@pytest.fixture(scope="session")
def helm(commands: Commands) -> Run:
    """`helm("install", …)`: its output."""
    return commands.helm


@pytest.fixture
def namespace(kubectl: Run) -> Iterator[str]:
    """A fresh namespace in which pods may be made; deleted, without waiting, after the test."""
    name = f"test-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=80s")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def admin(kubeconfig: Path, server_root: Path) -> AsyncIterator[Any]:
    """An asynchronous dynamic client (`kubernetes.aio`) with all rights."""
    configuration = Configuration()
    await load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
    async with ApiClient(configuration) as client:
        yield await DynamicClient(client, cache_file=str(server_root / "discovery.json"))
