"""Fixtures of the tests that run the operator: its processes, a namespace with Secrets, a scheduler, CRDs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.crd_support import install_crds
from tests.cluster.kubelet.api import Api, Cluster
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.operator_support import OperatorProcess, QueueSpace, Schedule, Started
from tests.support.command import Command


@pytest.fixture(scope="session")
def crds(kubectl: Any) -> None:
    """The custom resources."""
    install_crds(kubectl)


@pytest.fixture
async def space(kubeconfig: Path, nodes: Kubelet, namespace: str, crds: None) -> AsyncIterator[QueueSpace]:
    """A namespace for TaskQueues, with nodes."""
    api = Api(Cluster(kubeconfig))
    yield QueueSpace(api, namespace)
    await api.close()


@pytest.fixture
async def bare(kubeconfig: Path, namespace: str, crds: None, database_url: str) -> AsyncIterator[QueueSpace]:
    """A namespace with the Secrets of a migrated database, for queues without tasks: no nodes are needed."""
    async with Api(Cluster(kubeconfig)) as api:
        space = QueueSpace(api, namespace)
        await space.secret("database", database_url)
        await space.secret("broker", "redis://127.0.0.1:1/0")
        yield space


@pytest.fixture
def operators(kubeconfig: Path, namespace: str, tmp_path: Path) -> Iterator[Started]:
    """`operators(pod="operator-0", kubeconfig=…, **settings)` starts a replica, with all rights if no login is given."""
    started: list[OperatorProcess] = []
    all_rights = kubeconfig

    def start(*, kubeconfig: Path = all_rights, **settings: str) -> OperatorProcess:
        started.append(OperatorProcess(tmp_path, kubeconfig, namespace, **settings).start())
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Schedule]:
    """`scheduler(database_url, broker_url)` runs the background loops: they make the streams."""
    with ExitStack() as stack:
        yield lambda database, broker: stack.enter_context(
            Command(tmp_path, DATABASE_URL=database, BROKER_URL=broker).started("scheduler")
        )


@pytest.fixture
async def connected(space: QueueSpace, scheduler: Schedule, database_url: str, broker_url: str) -> None:
    """A migrated database with a scheduler, and the Secrets `database` and `broker`."""
    scheduler(database_url, broker_url)
    await space.secret("database", database_url)
    await space.secret("broker", broker_url)
