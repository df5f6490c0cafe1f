"""The operator end to end: real control plane, real PostgreSQL and Valkey, workers as real processes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from taskmill.kube import names
from taskmill.services.platform import Platform
from taskmill.services.submit import SubmitRequest
from tests.cluster.crd_support import install_crds
from tests.cluster.kubelet.api import Api, Cluster
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.objects import condition
from tests.cluster.operator_support import OperatorProcess, QueueSpace, Started, submitting
from tests.support.command import Command
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
QUEUE = "emails"
Schedule = Callable[[str, str], None]


@pytest.fixture(scope="module", autouse=True)
def _crds(kubectl: Any) -> None:
    install_crds(kubectl)


@pytest.fixture
async def space(kubeconfig: Path, nodes: Kubelet, namespace: str) -> AsyncIterator[QueueSpace]:
    api = Api(Cluster(kubeconfig))
    yield QueueSpace(api, namespace)
    await api.close()


@pytest.fixture
def operators(kubeconfig: Path, namespace: str, tmp_path: Path) -> Iterator[Started]:
    """`operators(pod="operator-0", **settings)` starts a replica."""
    started: list[OperatorProcess] = []

    def start(**settings: str) -> OperatorProcess:
        started.append(OperatorProcess(tmp_path, kubeconfig, namespace, **settings).start())
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
async def secrets(space: QueueSpace, scheduler: Schedule, database_url: str, broker_url: str) -> None:
    scheduler(database_url, broker_url)
    await space.secret("database", database_url)
    await space.secret("broker", broker_url)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Callable[[str, str], None]]:
    """`scheduler(database_url, broker_url)` runs the background loops: they make the streams."""
    with ExitStack() as stack:
        yield lambda database, broker: stack.enter_context(
            Command(tmp_path, DATABASE_URL=database, BROKER_URL=broker).started("scheduler")
        )


async def sleep_tasks(platform: Platform, count: int, seconds: float, queue: str = QUEUE) -> list[Any]:
    request = SubmitRequest(kind="shell.run", queue=queue, args={"argv": ["/usr/bin/sleep", str(seconds)]})
    return [(await platform.submit.submit(request)).id for _ in range(count)]


async def done(platform: Platform, ids: list[Any], *, timeout: float = 60) -> None:
    async def all_done() -> bool:
        states = [(await platform.tasks.get(each)).state for each in ids]
        return all(state == "completed" for state in states)

    await eventually(all_done, timeout=timeout, poll=0.2, why="all tasks are done")


async def test_from_an_empty_database_to_a_finished_task(
    space: QueueSpace, operators: Started, scheduler: Schedule, empty_database_url: str, broker_url: str
) -> None:
    await space.secret("database", empty_database_url)
    await space.secret("broker", broker_url)
    operator = operators()
    await operator.leads()
    began = time.monotonic()
    await space.queue(QUEUE, scaling={"minReplicas": 1})
    await space.serving(QUEUE, 1)
    ready = time.monotonic() - began
    jobs = await space.list("Job")
    assert len(jobs) in (1, 2)  # expand，以及很快跟上的 contract
    scheduler(empty_database_url, broker_url)
    async with submitting(empty_database_url, broker_url) as platform:
        begun = time.monotonic()
        await done(platform, await sleep_tasks(platform, 1, 0.1))
        print(f"\napplied → ready {ready:.1f} s, task {time.monotonic() - begun:.2f} s")  # noqa: T201 - 量出来的数
    for reason in ("MigrationStarted", "MigrationCompleted"):
        assert len(await space.events(reason)) == 1


async def test_apply_to_first_task_and_the_operators_share(
    space: QueueSpace, operators: Started, secrets: None, database_url: str, broker_url: str
) -> None:
    operator = operators()
    await operator.leads()
    async with submitting(database_url, broker_url) as platform:
        ids = await sleep_tasks(platform, 1, 0.1)
        began = time.time()
        await space.queue(QUEUE, migration={"policy": "Skip"})
        await done(platform, ids)
        total = time.time() - began
    scaled = [line for line in operator.text.splitlines() if "调整副本数" in line and "replicas=1" in line]
    share = datetime.fromisoformat(scaled[0].partition(" ")[0]).timestamp() - began
    pod = (await space.list("Pod", names.selector_text(QUEUE)))[0]
    ready = datetime.fromisoformat(condition(pod, "Ready")["lastTransitionTime"])
    boot = (ready - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()
    print(f"\napply → task done {total:.2f} s, of which pod start-up {boot:.0f} s; operator's share {share:.2f} s")  # noqa: T201
    assert share < 2
    assert total - boot < 10


async def test_a_missing_secret_is_told_and_mended(
    space: QueueSpace, operators: Started, database_url: str, broker_url: str
) -> None:
    await operators().leads()
    await space.queue(QUEUE, migration={"policy": "Skip"}, scaling={"minReplicas": 1})
    queue = await space.condition(QUEUE, "Ready", "ConnectionSecretMissing")
    assert "database" in str(queue["status"]["conditions"])
    await eventually(lambda: space.events("SecretMissing"), timeout=10)
    await space.secret("database", database_url)
    await space.secret("broker", broker_url)
    await space.serving(QUEUE, 1)
    assert len(await space.events("SecretMissing")) <= 2


async def test_idle_it_writes_nothing(space: QueueSpace, operators: Started, secrets: None, plane: Any) -> None:
    operator = operators()
    await operator.leads()
    await space.queue(QUEUE, migration={"policy": "Skip"})
    await space.condition(QUEUE, "Ready", "AsDesired")
    version = (await space.api.get(space.path("TaskQueue", QUEUE)))["metadata"]["resourceVersion"]
    rounds = operator.metric("taskmill_operator_tick_seconds_count")
    await eventually(lambda: operator.metric("taskmill_operator_tick_seconds_count") >= rounds + 8, timeout=30, poll=0.2)
    latest = await space.api.get(space.path("TaskQueue", QUEUE))
    assert latest["metadata"]["resourceVersion"] == version
    writes = plane.audit.lines(namespace=space.namespace, resource="deployments")
    assert len([line for line in writes if line.verb in {"patch", "create", "update"} and "taskmill" in str(line.raw.get("userAgent", ""))]) < 5
