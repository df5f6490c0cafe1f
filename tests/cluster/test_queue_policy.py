"""`spec.policy` on a real API server: refused like REST, written to the database, reported, set back, given back."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.services.fleet import FleetService
from tests.cluster.kubelet.api import ApiError
from tests.cluster.operator_support import QueueSpace, Started
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
QUEUE = "mail"
SPEC = {"migration": {"policy": "Skip"}, "scaling": {"mode": "Manual"}, "replicas": 0}


async def test_the_settings_of_a_queue_follow_its_task_queue(
    bare: QueueSpace, operators: Started, database_url: str
) -> None:
    await operators().leads()
    fleet = await FleetService.open(database_url)

    async def until(**wanted: Any) -> None:
        async def holds() -> bool:
            found = (await fleet.queues()).get(QUEUE)
            return found is not None and wanted.items() <= found.settings.items()

        await eventually(holds, timeout=90, poll=0.2, why=str(wanted))

    async def reported(policy: dict[str, Any] | None) -> None:
        def holds(queue: dict[str, Any]) -> bool:
            return (queue.get("status") or {}).get("queue", {}).get("policy") == policy

        await bare.until("TaskQueue", QUEUE, holds, timeout=60, why=f"status.queue.policy={policy}")

    policy = {"maxRunning": 5, "rate": {"limit": 600, "periodSeconds": 60}}
    await bare.queue(QUEUE, **SPEC, policy=policy)
    await until(max_running=5, rate={"limit": 600, "period_s": 60.0, "burst": 600})
    await reported(policy)
    await fleet.put_queue(QUEUE, QueuePolicyChange(max_running=50, max_backlog=7), by="ann")
    await until(max_running=5, max_backlog=7)
    await bare.change("TaskQueue", QUEUE, spec={"policy": {"maxRunning": None}})
    await until(max_running=None, max_backlog=7)
    await reported({"rate": policy["rate"]})
    await fleet.close()


@pytest.mark.parametrize(
    "policy",
    [{"maxRunning": 0}, {"maxBacklog": 100_000_001}, {"rate": {"limit": 5}}, {"rate": {"limit": 5, "periodSeconds": 0}}],
    ids=str,
)
async def test_what_rest_refuses_the_api_server_does(bare: QueueSpace, policy: dict[str, Any]) -> None:
    with pytest.raises(ApiError):
        await bare.queue(QUEUE, **SPEC, policy=policy)
