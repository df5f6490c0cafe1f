"""Many queues on one database: what is counted, whatever the machine. `benchmarks/operator_scale.py` takes the time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskmill.dev.servers import PostgresServer
from tests.cluster.kubelet.api import MERGE
from tests.cluster.operator_support import OperatorProcess, QueueSpace, reason_of
from tests.cluster.plane import ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
QUEUES = 50
TICKS = 6
USER = "operator-of-many"
LOOK = "with live as materialized"
NAMES = [f"queue-{number:02}" for number in range(QUEUES)]


def writes(plane: ControlPlane, since: int, namespace: str) -> list[Any]:
    """Return the operator's writes of anything but its lease."""
    lines = plane.audit.lines(since, user=USER, namespace=namespace)
    return [line for line in lines if line.verb not in {"get", "list", "watch"} and line.resource != "leases"]


async def finish_jobs(space: QueueSpace) -> list[str]:
    """Play the node: every Job that has started is done. Return the names of all Jobs."""
    jobs = await space.list("Job")
    for job in jobs:
        status, name = job.get("status") or {}, job["metadata"]["name"]
        if status.get("startTime") and not status.get("conditions"):
            now = status["startTime"]
            done = [
                {"type": kind, "status": "True", "lastTransitionTime": now, "reason": "CompletionsReached"}
                for kind in ("SuccessCriteriaMet", "Complete")
            ]
            counts = {"active": 0, "ready": 0, "terminating": 0, "succeeded": 1}
            body = {"status": {"conditions": done, "completionTime": now, **counts}}
            await space.api.patch(f"{space.path('Job', name)}/status", body, kind=MERGE)
    return [job["metadata"]["name"] for job in jobs]


async def settled(space: QueueSpace, plane: ControlPlane, operator: OperatorProcess) -> None:
    """Wait until all queues are as desired, and then until nothing is written during a few ticks."""

    async def as_desired() -> bool:
        await finish_jobs(space)
        found = (await space.api.get(space.path("TaskQueue")))["items"]
        return all(reason_of(queue, "Ready") == "AsDesired" for queue in found)

    await eventually(as_desired, timeout=120, poll=0.5, why="all queues as desired")
    await eventually(lambda: quiet(space, plane, operator), timeout=120, poll=0, why="nothing more to write")


async def quiet(space: QueueSpace, plane: ControlPlane, operator: OperatorProcess) -> bool:
    """Say whether nothing was written during a few ticks."""
    mark = plane.audit.mark()
    begin = operator.metric("taskmill_operator_tick_seconds_count")
    await finish_jobs(space)
    await eventually(
        lambda: operator.metric("taskmill_operator_tick_seconds_count") >= begin + TICKS, timeout=60, poll=0.2, why="ticks"
    )
    return not writes(plane, mark, space.namespace)


async def looks_per_tick(operator: OperatorProcess, server: PostgresServer) -> float:
    """Return how many statements that read the load a tick takes."""

    def counted() -> tuple[float, int]:
        return operator.metric("taskmill_operator_tick_seconds_count"), server.log_path.read_text().count(LOOK)

    begin, looks = counted()
    await eventually(lambda: counted()[0] >= begin + TICKS, timeout=60, poll=0.2, why="ticks")
    ticks, latest = counted()
    return (latest - looks) / (ticks - begin)


async def test_fifty_queues_make_one_migration_and_then_peace(
    bare: QueueSpace, plane: ControlPlane, tmp_path: Path, own_postgres: Callable[..., PostgresServer]
) -> None:
    server = own_postgres(settings={"log_statement": "all"})
    await bare.secret("database", server.url)
    mark = plane.audit.mark()
    operator = OperatorProcess(tmp_path, plane.user_kubeconfig(USER, "system:masters"), bare.namespace)
    try:
        await operator.start().leads()
        await asyncio.gather(*(bare.queue(name) for name in NAMES))
        await settled(bare, plane, operator)
        jobs = await bare.list("Job")
        made = Counter(job["metadata"]["labels"]["taskmill.dev/phase"] for job in jobs)
        assert made == {"expand": 1, "contract": 1}
        per_queue = len(writes(plane, mark, bare.namespace)) / QUEUES
        print(f"\n{per_queue:.1f} writes per queue from nothing to peace")  # noqa: T201 - 量出来的数
        assert per_queue < 20
        looks = await looks_per_tick(operator, server)
        assert abs(looks - 1) < 0.4  # 多少个队列都是一拍一条；边上可能差一拍
        assert operator.stop() == 0
        mark = plane.audit.mark()
        before = operator.text.count("开始对账")
        operator.start()
        await eventually(lambda: operator.text.count("开始对账") > before, timeout=60, poll=0.1, why="it leads again")
        assert await quiet(bare, plane, operator)
        assert writes(plane, mark, bare.namespace) == []  # 重启什么也不写
    finally:
        operator.kill()
