"""Mode External: Kubernetes' own HorizontalPodAutoscaler scales the TaskQueue by our `/scaling` numbers; we drain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from taskmill.dev import ports
from taskmill.kube import names
from tests.cluster import naps
from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.kubelet.objects import condition
from tests.cluster.metrics_stub import external_metrics
from tests.cluster.operator_support import QueueSpace, Started, reason_of
from tests.cluster.plane import ControlPlane
from tests.cluster.replay import all_ended, opened, outcome, submit
from tests.cluster.timeline import watched
from tests.support.command import Command
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(500)]
QUEUE, LOWEST, HIGHEST, PER_POD = "emails", 1, 3, 5
AUTOSCALER = {
    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": QUEUE},
    "spec": {
        "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": "TaskQueue", "name": QUEUE},
        "minReplicas": LOWEST, "maxReplicas": HIGHEST,
        "metrics": [{"type": "External", "external": {
            "metric": {"name": "taskmill_ready", "selector": {"matchLabels": {"queue": QUEUE}}},
            "target": {"type": "AverageValue", "averageValue": str(PER_POD)},
        }}],
    },
}  # fmt: skip


@pytest.fixture
def served(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[str]:
    """The URL of an API replica."""
    port = ports.choose(None)
    command = Command(tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url, LOG_LEVEL="WARNING")
    with command.started("api", "--port", str(port)):
        yield f"http://{ports.HOST}:{port}"


@pytest.fixture
async def autoscaled(
    space: QueueSpace, plane: ControlPlane, served: str, database_url: str, broker_url: str
) -> AsyncIterator[None]:
    """The external metrics API of the cluster, answered by that replica."""
    async with opened(database_url, broker_url) as platform:
        key = await platform.keys.create("autoscaler")

    async def answers() -> bool:
        try:
            return httpx2.get(
                f"{served}/api/v1/scaling/{QUEUE}", headers={"Authorization": f"Bearer {key.secret}"}
            ).is_success
        except httpx2.TransportError:
            return False

    await eventually(answers, timeout=120, poll=0.2, why="the API serves")
    async with external_metrics(space.api, plane.authority, space.namespace, served, key.secret):
        yield


async def test_a_horizontal_pod_autoscaler_scales_up_and_its_scaling_down_drains(
    space: QueueSpace,
    operators: Started,
    nodes: Kubelet,
    connected: None,
    autoscaled: None,
    database_url: str,
    broker_url: str,
) -> None:
    nodes.images.add(naps.IMAGE, naps.image())
    operator = operators()
    await operator.leads()
    scaling = {"mode": "External", "scaleDown": {"stabilizationSeconds": 0}}
    async with opened(database_url, broker_url) as platform, watched(space, QUEUE) as timeline:
        await space.queue(QUEUE, image=naps.IMAGE, migration={"policy": "Skip"}, concurrency=4, scaling=scaling, plugins=[])
        await space.condition(QUEUE, "ScalingActive", "External")
        await space.api.request("POST", autoscalers(space), AUTOSCALER)
        await space.serving(QUEUE, LOWEST, timeout=200)
        # 积压推上去，久到忙的机器上自动伸缩也看得见；新来的几个接着分到长任务，积压一空自动伸缩就要回到一个，而它们还在跑
        ids = await submit(platform, QUEUE, [1_000] * 120 + [15_000, 1_000] * 6)
        queue = await space.until("TaskQueue", QUEUE, lambda each: each["spec"]["replicas"] == HIGHEST, timeout=60)
        assert reason_of(queue, "ScalingActive") == "External"
        await space.until("Deployment", names.workload(QUEUE), lambda each: each["spec"]["replicas"] == HIGHEST)
        await space.until("TaskQueue", QUEUE, lambda each: each["spec"]["replicas"] == LOWEST, timeout=90, why="HPA lowers")
        await space.until("Deployment", names.workload(QUEUE), lambda each: each["spec"]["replicas"] == LOWEST, timeout=90)
        await all_ended(database_url, ids, timeout=120)
        await space.serving(QUEUE, LOWEST)
    found = await outcome(database_url, ids)
    assert (found.tasks, found.lost, found.again, found.causes) == (len(ids), 0, 0, {})
    assert (await space.api.get(space.path("TaskQueue", QUEUE)))["status"].get("interruptedTotal", 0) == 0
    assert "order=drain" in operator.text
    assert max(count for _, count in timeline.counts()) == HIGHEST
    hpa = await autoscaler(space)
    assert condition(hpa, "ScalingActive")["status"] == "True", hpa["status"]


def autoscalers(space: QueueSpace) -> str:
    return f"/apis/autoscaling/v2/namespaces/{space.namespace}/horizontalpodautoscalers"


async def autoscaler(space: QueueSpace) -> Json:
    return await space.api.get(f"{autoscalers(space)}/{QUEUE}")
