"""Workers that come and go under load on a real node: no task is lost, none is interrupted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import pytest

from taskmill.kube import names
from tests.cluster.kubelet.api import Json
from tests.cluster.load import judged, load
from tests.cluster.node import images
from tests.cluster.node.node import Node
from tests.cluster.node.release import PATIENCE_S, Release
from tests.cluster.operator_support import QueueSpace
from tests.cluster.timeline import watched
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900), pytest.mark.slow]
QUEUE, PODS, NEXT_IMAGE = "emails", 2, "taskmill:next"
MANUAL = {"mode": "Manual", "scaleDown": {"stabilizationSeconds": 0}}


@pytest.fixture
async def working(release: Release, space: QueueSpace) -> None:
    """A queue with two workers."""
    release.install()
    release.queue(QUEUE, concurrency=2, replicas=PODS, scaling=MANUAL)
    await space.serving(QUEUE, PODS, timeout=PATIENCE_S)


async def pods(space: QueueSpace) -> dict[str, Json]:
    """The workers that are not told to end, by their ids."""
    found = await space.list("Pod", names.selector_text(QUEUE))
    return {pod["metadata"]["uid"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}


async def gone(space: QueueSpace, leaving: Iterable[str]) -> None:
    """Wait until pods are no more."""

    async def look() -> bool:
        found = await space.list("Pod", names.selector_text(QUEUE))
        return not set(leaving) & {pod["metadata"]["uid"] for pod in found}

    await eventually(look, timeout=PATIENCE_S, poll=0.3, why="they have ended")


async def test_scale_in_drains_a_worker_and_interrupts_nothing(release: Release, space: QueueSpace, working: None) -> None:
    async with load(release.database_url, release.broker_url, QUEUE) as ids:
        await eventually(lambda: len(ids) > 10)
        await space.change("TaskQueue", QUEUE, spec={"replicas": 1})
        queue = await space.serving(QUEUE, 1, timeout=PATIENCE_S)
        await eventually(lambda: len(ids) > 40, timeout=PATIENCE_S)
    await judged(release.database_url, ids)
    assert queue["status"].get("interruptedTotal", 0) == 0


async def test_an_image_rolls_under_load_and_interrupts_nothing(
    release: Release, space: QueueSpace, working: None, node: Node
) -> None:
    node.containerd.tag(images.TASKMILL, f"docker.io/library/{NEXT_IMAGE}")
    before = await pods(space)
    async with load(release.database_url, release.broker_url, QUEUE) as ids, watched(space, QUEUE) as timeline:
        await eventually(lambda: len(ids) > 10)
        await space.change("TaskQueue", QUEUE, spec={"image": NEXT_IMAGE})
        await gone(space, before)
        await space.serving(QUEUE, PODS, timeout=PATIENCE_S)
    await judged(release.database_url, ids)
    assert {pod["spec"]["containers"][0]["image"] for pod in (await pods(space)).values()} == {NEXT_IMAGE}
    assert timeline.fewest_ready(PODS) >= PODS, "maxUnavailable is 0"


async def test_a_drained_worker_finishes_what_it_runs(release: Release, space: QueueSpace, working: None) -> None:
    victim = next(iter((await pods(space)).values()))
    async with load(release.database_url, release.broker_url, QUEUE) as ids:
        await eventually(lambda: len(ids) > 10)
        await asyncio.to_thread(evict, release, victim)
        await gone(space, [victim["metadata"]["uid"]])
        await space.serving(QUEUE, PODS, timeout=PATIENCE_S)
        await eventually(lambda: len(ids) > 40, timeout=PATIENCE_S)
    await judged(release.database_url, ids)


def evict(release: Release, pod: Json) -> None:
    """As `kubectl drain` does it, with the PodDisruptionBudget in force."""
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": release.namespace}}
    path = f"/api/v1/namespaces/{release.namespace}/pods/{name}/eviction"
    release.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))
