"""What a kubelet and a kernel do to workers that take too much: the cause is told, nothing that was innocent is lost."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import pytest

from taskmill.kube import names
from tests.cluster.kubelet.api import Json
from tests.cluster.node import guest
from tests.cluster.node.release import PATIENCE_S, Release, submit
from tests.cluster.operator_support import QueueSpace
from tests.cluster.replay import all_ended, outcome
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900), pytest.mark.slow]
QUEUE, MANUAL = "emails", {"mode": "Manual"}
CAUSES = "select cause from taskmill.task_attempts where task_id = $1 order by 1"
STATE = "select state, crash_count from taskmill.task_history where id = $1"


async def ended(release: Release, task: UUID) -> tuple[str, int, set[str]]:
    """The final state of a task, its crashes, and the causes of its attempts."""
    connection = await asyncpg.connect(release.database_url)
    try:
        row = await connection.fetchrow(STATE, task)
        causes = {each["cause"] for each in await connection.fetch(CAUSES, task)}
    finally:
        await connection.close()
    assert row is not None
    return row["state"], row["crash_count"], causes


async def one_worker(release: Release, space: QueueSpace, limits: dict[str, str]) -> None:
    """Install, and start one worker with these limits."""
    release.install()
    resources = {"requests": {"memory": "128Mi"}, "limits": limits}
    release.queue(QUEUE, concurrency=4, replicas=1, scaling=MANUAL, pod={"resources": resources})
    await space.serving(QUEUE, 1, timeout=PATIENCE_S)


async def nothing_lost(release: Release, ids: Sequence[UUID]) -> None:
    """Insist that all of these tasks completed."""
    await all_ended(release.database_url, ids, timeout=PATIENCE_S)
    assert (await outcome(release.database_url, ids)).lost == 0


async def test_a_task_that_eats_the_memory_is_discarded_and_its_neighbours_complete(
    release: Release, space: QueueSpace
) -> None:
    await one_worker(release, space, {"memory": "256Mi"})
    async with release.submitting() as platform:
        naps = await submit(platform, QUEUE, guest.NAP, 20, ms=1000)
        (eater,) = await submit(platform, QUEUE, guest.EAT, mib=512)
        pod = await eventually(lambda: killed(space), timeout=PATIENCE_S, poll=0.3, why="the kernel kills the worker")
        naps += await submit(platform, QUEUE, guest.NAP, 20, ms=1000)
        await all_ended(release.database_url, [eater], timeout=PATIENCE_S)
        await nothing_lost(release, naps)
    state, crashes, causes = await ended(release, eater)
    assert (state, crashes, causes) == ("discarded", 3, {"oom"}), release.told()
    await space.serving(QUEUE, 1, timeout=PATIENCE_S)
    assert pod is not None
    assert pod["metadata"]["uid"] in {each["metadata"]["uid"] for each in await workers(space)}, "restarted, not replaced"


async def test_a_worker_evicted_for_its_disk_is_replaced_and_its_tasks_run_again(
    release: Release, space: QueueSpace
) -> None:
    await one_worker(release, space, {"ephemeral-storage": "64Mi"})
    async with release.submitting() as platform:
        naps = await submit(platform, QUEUE, guest.NAP, 2, ms=20_000)
        (filler,) = await submit(platform, QUEUE, guest.FILL, mib=128)
        await eventually(lambda: evicted(space), timeout=PATIENCE_S, poll=0.3, why="the kubelet evicts the worker")
        await nothing_lost(release, [*naps, filler])
    state, crashes, causes = await ended(release, filler)
    assert (state, crashes, causes) == ("completed", 0, {"evicted"}), release.told()
    await space.serving(QUEUE, 1, timeout=PATIENCE_S)


async def workers(space: QueueSpace) -> list[Json]:
    return await space.list("Pod", names.selector_text(QUEUE))


async def killed(space: QueueSpace) -> Json | None:
    """The pod of which the kernel killed the worker."""
    for pod in await workers(space):
        for status in pod["status"].get("containerStatuses") or ():
            died = (status.get("lastState") or {}).get("terminated") or (status.get("state") or {}).get("terminated") or {}
            if died.get("reason") == "OOMKilled":
                return pod
    return None


async def evicted(space: QueueSpace) -> bool:
    return any(pod["status"].get("reason") == "Evicted" for pod in await workers(space))
