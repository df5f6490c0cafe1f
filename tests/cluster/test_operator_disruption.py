"""Nodes that are drained and templates that roll, under load: old workers finish what they run, nothing is interrupted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskmill.kube import names
from tests.cluster import naps
from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.load import judged, load
from tests.cluster.operator_support import QueueSpace, Started, rewritten
from tests.cluster.timeline import watched
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(700), pytest.mark.slow]
QUEUE, NODE, PODS, NEXT_IMAGE = "emails", "node-0", 3, "taskmill:naps-2"


async def working(space: QueueSpace, nodes: Kubelet, operators: Started) -> None:
    """A queue with its workers."""
    nodes.images.add(naps.IMAGE, naps.image())
    nodes.images.add(NEXT_IMAGE, naps.image())
    await operators().leads()
    scaling = {"mode": "Manual"}
    await space.queue(
        QUEUE, image=naps.IMAGE, migration={"policy": "Skip"}, concurrency=2, replicas=PODS, scaling=scaling, plugins=[]
    )
    await space.serving(QUEUE, PODS, timeout=150)


async def pods(space: QueueSpace) -> list[Json]:
    return [pod for pod in await space.list("Pod", names.selector_text(QUEUE)) if "deletionTimestamp" not in pod["metadata"]]


async def test_a_drained_node_gives_its_workers_up_one_by_one(
    space: QueueSpace, operators: Started, nodes: Kubelet, connected: None, kubectl: Any, database_url: str, broker_url: str
) -> None:
    await working(space, nodes, operators)
    selector = ("--pod-selector", names.selector_text(QUEUE))
    leaving = {pod["metadata"]["uid"] for pod in await pods(space) if pod["spec"]["nodeName"] == NODE}
    assert leaving
    try:
        async with load(database_url, broker_url, QUEUE) as ids, watched(space, QUEUE) as timeline:
            await eventually(lambda: len(ids) > 10 and len(timeline.pods) == PODS)
            await asyncio.to_thread(kubectl, "drain", NODE, "--delete-emptydir-data", "--ignore-daemonsets", *selector)
            await space.serving(QUEUE, PODS, timeout=150)
            assert all(pod["spec"]["nodeName"] != NODE for pod in await pods(space))
            await eventually(lambda: leaving <= {uid for uid, life in timeline.pods.items() if life.gone}, timeout=60)
    finally:
        kubectl("uncordon", NODE)
    await judged(database_url, ids)
    assert timeline.fewest_ready(PODS) >= PODS - 1, "the PodDisruptionBudget holds"


async def test_an_image_and_a_secret_roll_under_load(
    space: QueueSpace, operators: Started, nodes: Kubelet, connected: None, database_url: str, broker_url: str
) -> None:
    await working(space, nodes, operators)

    async def replaced(before: set[str]) -> bool:
        found = await pods(space)
        return len(found) == PODS and not before & {pod["metadata"]["uid"] for pod in found}

    async with load(database_url, broker_url, QUEUE) as ids, watched(space, QUEUE) as timeline:
        await eventually(lambda: len(ids) > 10)
        for roll in (
            lambda: space.change("TaskQueue", QUEUE, spec={"image": NEXT_IMAGE}),
            lambda: space.secret("database", rewritten(database_url)),
        ):
            before = {pod["metadata"]["uid"] for pod in await pods(space)}
            await roll()
            await eventually(lambda before=before: replaced(before), timeout=150, poll=0.3, why="new workers")
            await space.serving(QUEUE, PODS, timeout=150)
    await judged(database_url, ids)
    assert {pod["spec"]["containers"][0]["image"] for pod in await pods(space)} == {NEXT_IMAGE}
    assert timeline.fewest_ready(PODS) >= PODS, "maxUnavailable is 0"
