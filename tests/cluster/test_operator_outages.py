"""Faults while tasks run on real workers: servers that are away, workers that die, evictions that will not wait.

Whatever it is: no task is lost, scaling in interrupts none, no worker is taken away because of it, and within 30 s of its
end the status is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import pytest

from taskmill.dev.servers import PostgresServer, ValkeyServer
from taskmill.kube import names
from tests.cluster import naps
from tests.cluster.fault_proxy import breathe
from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.load import load
from tests.cluster.operator_support import OperatorProcess, QueueSpace, Schedule, Started, reason_of
from tests.cluster.replay import Outcome, all_ended, opened, outcome, submit
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(800)]
QUEUE, PODS = "emails", 2
RIGHT_S = 30.0
SHORT, LONG = 300, 8_000  # 毫秒


@pytest.fixture
async def leader(operators: Started, nodes: Kubelet) -> OperatorProcess:
    """An operator that leads, and the image of the naps."""
    nodes.images.add(naps.IMAGE, naps.image())
    operator = operators()
    await operator.leads()
    return operator


async def working(space: QueueSpace, **changes: object) -> set[str]:
    """A queue that scales between PODS and one more; returns the uids of its pods."""
    spec = {"image": naps.IMAGE, "migration": {"policy": "Skip"}, "concurrency": 2, "plugins": [], **changes}
    await space.queue(QUEUE, **{"scaling": {"minReplicas": PODS, "maxReplicas": PODS}, **spec})
    await space.serving(QUEUE, PODS, timeout=150)
    return await uids(space)


async def pods(space: QueueSpace) -> list[Json]:
    return [pod for pod in await space.list("Pod", names.selector_text(QUEUE)) if "deletionTimestamp" not in pod["metadata"]]


async def uids(space: QueueSpace) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await pods(space)}


async def right(space: QueueSpace, fault: str) -> None:
    """The status tells within 30 s that all is as desired and the numbers are fresh."""
    begin = time.monotonic()

    def holds(queue: Json) -> bool:
        return reason_of(queue, "Ready") == "AsDesired" and queue["status"]["work"]["source"] == "Postgres"

    await space.until("TaskQueue", QUEUE, holds, timeout=RIGHT_S, why=f"right after {fault}")
    print(f"\n{fault}: right after {time.monotonic() - begin:.1f} s")  # noqa: T201 - 量出来的数


async def ended(space: QueueSpace, database_url: str, ids: list[UUID], fault: str, *, timeout: float = 150) -> Outcome:
    """Wait for all tasks: none lost, none counted as interrupted by scaling in."""
    begin = time.monotonic()
    await all_ended(database_url, ids, timeout=timeout)
    found = await outcome(database_url, ids)
    queue = await space.api.get(space.path("TaskQueue", QUEUE))
    print(f"\n{fault}: all ended after {time.monotonic() - begin:.1f} s, again {found.again}, {found.causes}")  # noqa: T201
    assert (found.lost, queue["status"].get("interruptedTotal", 0)) == (0, 0)
    return found


async def away(
    space: QueueSpace, server: PostgresServer | ValkeyServer, urls: tuple[str, str], seconds: float, *, told: str
) -> Outcome:
    """Take a server away while every seat is busy and more waits, and bring it back."""
    fault = f"{type(server).__name__} away for {seconds:.0f} s"
    before = await working(space)
    async with opened(*urls) as platform:
        ids = await submit(platform, QUEUE, [LONG, LONG, SHORT, SHORT] * 6)
        await eventually(lambda: busy(space), timeout=60, poll=0.2, why="every seat is taken")
    server.kill()
    gone = time.monotonic()
    if told:
        await space.condition(QUEUE, "Ready", told, timeout=RIGHT_S)
    await breathe(max(0.0, gone + seconds - time.monotonic()))
    queue = await space.api.get(space.path("TaskQueue", QUEUE))
    assert reason_of(queue, "Ready") == (told or "AsDesired")
    assert await uids(space) == before, "no worker was taken away"
    server.start()
    await right(space, fault)
    assert await uids(space) == before
    return await ended(space, urls[0], ids, fault)


async def busy(space: QueueSpace) -> bool:
    queue = await space.api.get(space.path("TaskQueue", QUEUE))
    return queue["status"].get("busyReplicas", 0) == PODS


@pytest.mark.parametrize("seconds", [40, pytest.param(300, marks=pytest.mark.slow)])
async def test_postgresql_is_away(
    space: QueueSpace,
    leader: OperatorProcess,
    scheduler: Schedule,
    own_postgres: Callable[..., PostgresServer],
    broker_url: str,
    seconds: float,
) -> None:
    server = own_postgres()
    scheduler(server.url, broker_url)
    await space.secret("database", server.url)
    await space.secret("broker", broker_url)
    found = await away(space, server, (server.url, broker_url), seconds, told="DatabaseUnreachable")
    # 租约在中断期间过期，但人还在：谁也不该被当作死了
    assert (found.again, found.causes) == (0, {})


@pytest.mark.parametrize("seconds", [40, pytest.param(300, marks=pytest.mark.slow)])
async def test_valkey_is_away(
    space: QueueSpace,
    leader: OperatorProcess,
    scheduler: Schedule,
    own_valkey: Callable[..., ValkeyServer],
    database_url: str,
    seconds: float,
) -> None:
    server = own_valkey()
    scheduler(database_url, server.url)
    await space.secret("database", database_url)
    await space.secret("broker", server.url)
    found = await away(space, server, (database_url, server.url), seconds, told="BrokerUnreachable")
    assert (found.again, found.causes) == (0, {})


async def test_workers_are_killed_under_load(
    space: QueueSpace, leader: OperatorProcess, nodes: Kubelet, connected: None, database_url: str, broker_url: str
) -> None:
    before = await working(space)
    async with load(database_url, broker_url, QUEUE) as ids:
        await eventually(lambda: len(ids) > 10)
        for pod in await pods(space):
            nodes.kill(space.namespace, pod["metadata"]["name"])
            await breathe(3)
        await eventually(lambda: len(ids) > 60)
    await right(space, "both workers killed (-9)")
    found = await ended(space, database_url, ids, "both workers killed (-9)")
    assert await uids(space) == before, "the kubelet starts containers again, the operator leaves them alone"
    assert found.again >= 1
    assert set(found.causes) == {"crash"}


@pytest.mark.slow
async def test_an_eviction_does_not_wait_for_a_task_that_outlasts_the_drain(
    space: QueueSpace, leader: OperatorProcess, nodes: Kubelet, connected: None, database_url: str, broker_url: str
) -> None:
    await working(space, drain={"timeoutSeconds": 10, "onTimeout": "Requeue"})
    async with opened(database_url, broker_url) as platform:
        ids = await submit(platform, QUEUE, [60_000])
        await eventually(lambda: someone(space), timeout=60, poll=0.2, why="it runs")
        (runner,) = await runners(database_url)
        victim = next(pod for pod in await pods(space) if pod["metadata"]["uid"] == runner)
        path = f"{space.path('Pod', victim['metadata']['name'])}/eviction"
        await space.api.request("POST", path, {
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": victim["metadata"]["name"], "namespace": space.namespace},
        })  # fmt: skip
        await space.until_gone("Pod", victim["metadata"]["name"], timeout=120)
        await right(space, "a worker evicted while its task outlasts the drain")
        found = await ended(space, database_url, ids, "evicted", timeout=200)
    assert (found.again, found.causes) == (1, {"drain": 1})


async def someone(space: QueueSpace) -> bool:
    queue = await space.api.get(space.path("TaskQueue", QUEUE))
    return queue["status"].get("busyReplicas", 0) >= 1


async def runners(database_url: str) -> set[str]:
    """The uids of the pods that run something."""
    import asyncpg

    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("select pod_uid from taskmill.workers where running > 0")
        return {row["pod_uid"] for row in rows}
    finally:
        await connection.close()
