"""Scaling in while tasks run: nothing is interrupted, whatever happens to the operator meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from uuid import UUID

import pytest

from taskmill.services.platform import Platform
from tests.cluster.kubelet.api import Json
from tests.cluster.operator_support import QueueSpace, Started, done, sleep_tasks, submitting
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400), pytest.mark.slow]
QUEUE = "emails"
PODS = 3
SHRINK = {"stabilizationSeconds": 0}


async def uninterrupted(space: QueueSpace, platform: Platform, ids: Sequence[UUID]) -> None:
    """Insist that every task was done at its first attempt, and that the operator saw no harm."""
    for each in ids:
        assert await platform.tasks.attempts(each) == []
    queue = await space.api.get(space.path("TaskQueue", QUEUE))
    assert queue["status"].get("interruptedTotal", 0) == 0


async def replicas(space: QueueSpace, wanted: int, *, timeout: float = 120) -> Json:
    return await space.until("Deployment", f"{QUEUE}-worker", lambda d: d["spec"]["replicas"] == wanted, timeout=timeout)


async def test_manual_scale_in_under_load_interrupts_nothing(
    space: QueueSpace, operators: Started, connected: None, database_url: str, broker_url: str
) -> None:
    operator = operators()
    await operator.leads()
    scaling = {"mode": "Manual", "scaleDown": SHRINK}
    await space.queue(QUEUE, migration={"policy": "Skip"}, concurrency=2, replicas=PODS, scaling=scaling)
    await space.serving(QUEUE, PODS, timeout=150)
    async with submitting(database_url, broker_url) as platform:
        ids = await sleep_tasks(platform, QUEUE, 40, 1)
        await space.change("TaskQueue", QUEUE, spec={"replicas": 1})
        ids += await sleep_tasks(platform, QUEUE, 20, 1)
        await replicas(space, 1)
        await done(platform, ids, timeout=150)
        await space.serving(QUEUE, 1)
        await uninterrupted(space, platform, ids)
    assert operator.metric("taskmill_operator_queue_interrupted_tasks") == 0


async def test_a_leader_killed_between_cordon_and_scale_is_succeeded_without_harm(
    space: QueueSpace, operators: Started, connected: None, database_url: str, broker_url: str
) -> None:
    first = operators(pod="operator-0")
    await first.leads()
    second = operators(pod="operator-1")
    scaling = {"mode": "Manual", "scaleDown": SHRINK}
    await space.queue(QUEUE, migration={"policy": "Skip"}, concurrency=1, replicas=2, scaling=scaling)
    await space.serving(QUEUE, 2, timeout=150)
    async with submitting(database_url, broker_url) as platform:
        ids = await sleep_tasks(platform, QUEUE, 4, 6)
        await eventually(lambda: running(platform, ids, 2), timeout=60, poll=0.1)
        await space.change("TaskQueue", QUEUE, spec={"replicas": 1})
        await eventually(lambda: "已下达命令" in first.text, timeout=60, poll=0.02)
        first.kill()
        await eventually(lambda: "开始对账" in second.text, timeout=60, why="the standby takes over")
        await replicas(space, 1)
        await done(platform, ids, timeout=150)
        await uninterrupted(space, platform, ids)
    lease = await space.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{space.namespace}/leases/taskmill-operator")
    assert lease["spec"]["holderIdentity"] == "operator-1"


async def running(platform: Platform, ids: Sequence[UUID], count: int) -> bool:
    return sum([(await platform.tasks.get(each)).state == "running" for each in ids]) >= count


async def test_an_operator_that_hangs_past_its_lease_acts_no_more(
    space: QueueSpace, operators: Started, connected: None
) -> None:
    first = operators(pod="operator-0")
    await first.leads()
    second = operators(pod="operator-1")
    first.signal(signal.SIGSTOP)
    await eventually(lambda: "开始对账" in second.text, timeout=60, why="the standby takes over")
    first.signal(signal.SIGCONT)
    await eventually(lambda: "不再是主控" in first.text, timeout=30)
    assert second.metric("taskmill_operator_leader") == 1
    assert first.metric("taskmill_operator_leader") == 0
    assert second.stop() == 0
    await eventually(lambda: first.text.count("开始担任主控") == 2, timeout=10, why="released at once")
