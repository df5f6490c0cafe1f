"""A tenant that goes: its namespace is not held up, and nobody else notices. Old CRDs are told to who may not read CRDs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import httpx2
import pytest

from taskmill.kube import names
from taskmill.kube.crd import documents
from tests.cluster.conftest import Run
from tests.cluster.crd_support import install_crds
from tests.cluster.operator_support import OperatorProcess, QueueSpace, Started, reason_of, submitting
from tests.cluster.plane import ControlPlane
from tests.cluster.test_operator_faults import answers
from tests.cluster.test_operator_mistakes import bound, login
from tests.support.waiting import eventually, slowness

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400), pytest.mark.slow]
SKIP = {"policy": "Skip"}
CHANGES = 60
GONE_S = 60.0


@pytest.fixture
async def tenants(
    space: QueueSpace, connected: None, kubectl: Run, namespace: str, database_url: str, broker_url: str
) -> AsyncIterator[tuple[QueueSpace, QueueSpace]]:
    """Two more namespaces, each with the Secrets; `shell.run` is known."""
    made = [f"{namespace}-{each}" for each in ("goes", "stays")]
    found = []
    for each in made:
        kubectl("create", "namespace", each)
        found.append(QueueSpace(space.api, each))
        await found[-1].secret("database", database_url)
        await found[-1].secret("broker", broker_url)
    async with submitting(database_url, broker_url):
        pass
    yield found[0], found[1]
    for each in made:
        kubectl("delete", "namespace", each, "--wait=false", "--ignore-not-found")


async def nightly(space: QueueSpace) -> None:
    """Make a TaskSchedule, and wait until the database has it."""
    connection = {"databaseSecretRef": {"name": "database"}, "brokerSecretRef": {"name": "broker"}}
    what = {"kind": "shell.run", "args": {"argv": ["/usr/bin/sleep", "0"]}, "cron": "0 3 * * *"}
    head = {"apiVersion": names.API_VERSION, "kind": "TaskSchedule", "metadata": {"name": f"nightly-{space.namespace}"}}
    await space.api.request("POST", space.path("TaskSchedule"), {**head, "spec": {"connection": connection, **what}})
    await space.until("TaskSchedule", head["metadata"]["name"], lambda it: reason_of(it, "Ready") == "Scheduled", timeout=60)


async def rounds(space: QueueSpace, queue: str) -> list[float]:
    """How long it takes from a change of the spec to the status that tells of it, many times."""
    took = []
    for number in range(CHANGES):
        began = time.monotonic()
        policy, reason = ("Hold", "Suspended") if number % 2 == 0 else ("None", "AsDesired")
        generation = (await space.change("TaskQueue", queue, spec={"stopPolicy": policy}))["metadata"]["generation"]

        def told(it: Any, reason: str = reason, generation: int = generation) -> bool:
            return it["status"]["observedGeneration"] == generation and reason_of(it, "Ready") == reason

        await space.until("TaskQueue", queue, told, timeout=30, why=f"change {number}")
        took.append(time.monotonic() - began)
    return took


def p99(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


async def test_a_namespace_that_is_deleted_goes_and_the_others_are_served_as_before(
    tenants: tuple[QueueSpace, QueueSpace],
    kubectl: Run,
    kubeconfig: Path,
    tmp_path: Path,
    namespace: str,
    operators: Started,
    plane: ControlPlane,
) -> None:
    goes, stays = tenants
    bound(kubectl, f"{namespace}:operator", namespace, goes.namespace, stays.namespace)
    config = login(kubectl, kubeconfig, tmp_path, f"{namespace}:operator")
    operator = operators(kubeconfig=config, OPERATOR_NAMESPACES=f"{goes.namespace},{stays.namespace}")
    await operator.leads()
    for each, scaling in ((goes, {"minReplicas": 1}), (stays, {})):
        await each.queue("one", migration=SKIP, scaling=scaling, queueName=each.namespace, drain={"timeoutSeconds": 10})
        await nightly(each)
    await goes.serving("one", 1)
    await stays.condition("one", "Ready", "AsDesired", timeout=60)
    before = await rounds(stays, "one")
    kubectl("delete", "namespace", goes.namespace, "--wait=false")
    began = time.monotonic()
    during = await rounds(stays, "one")
    await until_gone(goes, kubectl, began)
    plane.api.restart()  # 看守都断了，重新列表时才知道少了一个命名空间；不然要到五分钟一次的完整列表
    plane.controllers.restart()
    await eventually(lambda: answers(stays), why="this test's own connection is made anew")
    await eventually(lambda: lost(operator), timeout=90, poll=0.5, why="the namespace is counted as lost")
    after = await rounds(stays, "one")
    print(f"others, p99 of a change: {p99(before):.2f} s, {p99(during):.2f} s meanwhile, {p99(after):.2f} s after")  # noqa: T201
    print(f"mean: {mean(before):.2f} s, {mean(during):.2f} s, {mean(after):.2f} s")  # noqa: T201
    assert max(p99(during), p99(after)) < (2 * p99(before) + 1) * slowness()
    assert httpx2.get(f"{operator.url}/healthz").status_code == 200, "it has neither ended nor to be ended"


def lost(operator: OperatorProcess) -> bool:
    return operator.metric("taskmill_operator_namespaces_lost") == 1


async def until_gone(space: QueueSpace, kubectl: Run, began: float) -> None:
    """The namespace goes by itself, or by what the guide says of what hangs."""

    def present() -> bool:
        return bool(kubectl("get", "namespace", space.namespace, "--ignore-not-found").strip())

    try:
        await eventually(lambda: not present(), timeout=GONE_S, poll=0.5)
    except AssertionError:
        left = kubectl("get", "taskqueues,taskschedules", "-n", space.namespace, "-o", "name").split()
        print(f"left in the namespace after {time.monotonic() - began:.0f} s: {left}")  # noqa: T201
        for each in left:
            kubectl("patch", each, "-n", space.namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        await eventually(lambda: not present(), timeout=GONE_S, poll=0.5, why="what the guide says")
    print(f"namespace gone after {time.monotonic() - began:.0f} s")  # noqa: T201


async def test_old_crds_are_told_by_an_operator_that_may_not_read_crds(
    own_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane = own_plane()
    older = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [aged(each) for each in documents.documents().values()]}
    )
    plane.commands.kubectl("apply", "--server-side", "-f", "-", stdin=older)
    plane.kubectl("wait", "--for=condition=Established", "crd/taskqueues.taskmill.dev", "--timeout=80s")
    plane.kubectl("create", "namespace", "home")
    config = login(plane.commands.kubectl, plane.kubeconfig, tmp_path, "home:operator")
    bound(plane.commands.kubectl, "home:operator", "home")
    operator = OperatorProcess(tmp_path, config, "home").start()
    try:
        await eventually(lambda: "has schema version 0" in operator.text, timeout=60, poll=0.2, why="the log says so")
        assert httpx2.get(f"{operator.url}/readyz").status_code == 503
        plane.kubectl("delete", "crd", "--all")
        install_crds(plane.commands.kubectl)
        await operator.leads()
        await eventually(lambda: httpx2.get(f"{operator.url}/readyz").status_code == 200, timeout=60, poll=0.5)
    finally:
        operator.kill()


def aged(crd: Any) -> Any:
    """A CRD as an older version of the project had it."""
    words = f"{documents.VERSION_WORDS} {documents.SCHEMA_VERSION}"
    text = json.dumps(crd).replace(words, f"{documents.VERSION_WORDS} 0")
    return json.loads(text)
