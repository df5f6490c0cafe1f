"""A trace of bursts and long tasks on real workers: scaling in and out loses nothing and interrupts nothing."""

from __future__ import annotations

import pytest

from taskmill.kube import names
from tests.cluster import naps
from tests.cluster.kubelet.kubelet import Kubelet
from tests.cluster.operator_support import QueueSpace, Started
from tests.cluster.replay import Step, all_ended, opened, outcome, replay
from tests.cluster.timeline import watched

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
QUEUE = "emails"
QUICK = {
    "maxReplicas": 3, "idleSeconds": 3, "objective": {"startLatencySeconds": 5},
    "scaleDown": {"stabilizationSeconds": 1, "periodSeconds": 1},
}  # fmt: skip
# 第二波来时第一波的长任务还在跑，其他工作进程正在收尾；短任务把人数推上去，长任务让缩容有可打断的
TRACE = (Step(0, 60, 400), Step(0, 3, 15_000), Step(18, 40, 400), Step(18, 2, 8_000))


async def test_a_short_trace_loses_nothing_and_interrupts_nothing(
    space: QueueSpace, operators: Started, nodes: Kubelet, connected: None, database_url: str, broker_url: str
) -> None:
    nodes.images.add(naps.IMAGE, naps.image())
    operator = operators()
    await operator.leads()
    async with opened(database_url, broker_url) as platform, watched(space, QUEUE) as timeline:
        await space.queue(QUEUE, image=naps.IMAGE, migration={"policy": "Skip"}, concurrency=2, scaling=QUICK, plugins=[])
        ids = await replay(platform, QUEUE, TRACE)
        await all_ended(database_url, ids, timeout=120)
        await space.until("Deployment", names.workload(QUEUE), lambda each: each["spec"]["replicas"] == 0, timeout=60)
    found = await outcome(database_url, ids)
    queue = await space.api.get(space.path("TaskQueue", QUEUE))
    up, down = timeline.actions()
    assert (found.tasks, found.lost, found.again, found.causes) == (len(ids), 0, 0, {})
    assert queue["status"].get("interruptedTotal", 0) == 0
    assert (up >= 1, down >= 1) == (True, True), timeline.replicas
    assert max(count for _, count in timeline.counts()) > 1
    assert "order=drain" in operator.text, "scaled in by the protocol, not only when all was idle"
