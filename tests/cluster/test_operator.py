"""The operator end to end: real control plane, real PostgreSQL and Valkey, workers as real processes."""

from __future__ import annotations

import os
import time
from datetime import datetime

import pytest

from taskmill.kube import names
from taskmill.services.fleet import FleetService
from tests.cluster.operator_support import QueueSpace, Schedule, Started, done, sleep_tasks, submitting
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
QUEUE = "emails"
WRITES = ("apply", "patch", "create", "delete")


def crowded() -> float:
    """Return how many times longer things take while others want the processors, too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


async def test_from_an_empty_database_to_a_finished_task(
    space: QueueSpace, operators: Started, scheduler: Schedule, empty_database_url: str, broker_url: str
) -> None:
    await space.secret("database", empty_database_url)
    await space.secret("broker", broker_url)
    operator = operators()
    await operator.leads()
    began = time.monotonic()
    await space.queue(QUEUE, scaling={"minReplicas": 1})
    await space.serving(QUEUE, 1)
    ready = time.monotonic() - began
    jobs = await space.list("Job")
    assert len(jobs) in (1, 2)  # expand，以及很快跟上的 contract
    scheduler(empty_database_url, broker_url)
    async with submitting(empty_database_url, broker_url) as platform:
        begun = time.monotonic()
        await done(platform, await sleep_tasks(platform, QUEUE, 1, 0.1))
        print(f"\napplied → ready {ready:.1f} s, task {time.monotonic() - begun:.2f} s")  # noqa: T201 - 量出来的数
    for reason in ("MigrationStarted", "MigrationCompleted"):
        assert len(await space.events(reason)) == 1


async def test_apply_to_first_task_and_the_operators_share(
    space: QueueSpace, operators: Started, connected: None, database_url: str, broker_url: str
) -> None:
    operator = operators()
    await operator.leads()
    async with submitting(database_url, broker_url) as platform:
        ids = await sleep_tasks(platform, QUEUE, 1, 0.1)
        began = time.time()
        await space.queue(QUEUE, migration={"policy": "Skip"})
        await done(platform, ids)
        total = time.time() - began
    scaled = [line for line in operator.text.splitlines() if "调整副本数" in line and "replicas=1" in line]
    share = datetime.fromisoformat(scaled[0].partition(" ")[0]).timestamp() - began
    pod = (await space.list("Pod", names.selector_text(QUEUE)))[0]
    fleet = await FleetService.open(database_url)
    worker = (await fleet.workers())[0]
    await fleet.close()
    boot = (worker.started_at - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()
    print(f"\napply → task done {total:.2f} s, of which pod start-up {boot:.1f} s; operator's share {share:.2f} s")  # noqa: T201
    assert share < 2 * crowded()
    assert total - boot < 10 * crowded()


async def test_a_missing_secret_is_told_and_mended(
    space: QueueSpace, operators: Started, database_url: str, broker_url: str
) -> None:
    await operators().leads()
    await space.queue(QUEUE, migration={"policy": "Skip"}, scaling={"minReplicas": 1})
    queue = await space.condition(QUEUE, "Ready", "ConnectionSecretMissing")
    assert "database" in str(queue["status"]["conditions"])
    await eventually(lambda: space.events("SecretMissing"), timeout=60)
    await space.secret("database", database_url)
    await space.secret("broker", broker_url)
    await space.serving(QUEUE, 1)
    assert len(await space.events("SecretMissing")) <= 2


async def test_idle_it_writes_nothing(space: QueueSpace, operators: Started, connected: None) -> None:
    operator = operators()
    await operator.leads()
    await space.queue(QUEUE, migration={"policy": "Skip"})
    await space.condition(QUEUE, "Ready", "AsDesired")

    def writes() -> float:
        return sum(operator.metric("taskmill_operator_api_requests_total", verb=verb) for verb in WRITES)

    def ticks() -> float:
        return operator.metric("taskmill_operator_tick_seconds_count")

    settled = -1.0
    while settled != (settled := writes()):  # 先等它安静下来
        begun = ticks()
        await eventually(lambda begun=begun: ticks() >= begun + 3, timeout=60, poll=0.2)
    begun, rounds = ticks(), operator.metric("taskmill_operator_reconciles_total")
    await eventually(lambda: ticks() >= begun + 10, timeout=60, poll=0.2)
    assert writes() == settled
    assert operator.metric("taskmill_operator_reconciles_total") == rounds


async def test_deletion_finishes_what_runs_and_leaves_the_rest(
    space: QueueSpace, operators: Started, connected: None, database_url: str, broker_url: str
) -> None:
    await operators().leads()
    await space.queue(QUEUE, migration={"policy": "Skip"}, concurrency=1, scaling={"maxReplicas": 1})
    async with submitting(database_url, broker_url) as platform:
        running = await sleep_tasks(platform, QUEUE, 1, 8)

        async def begun() -> bool:
            return (await platform.tasks.get(running[0])).state == "running"

        await eventually(begun, timeout=90, poll=0.2)
        waiting = await sleep_tasks(platform, QUEUE, 1, 0.1)
        await space.delete("TaskQueue", QUEUE)
        await space.condition(QUEUE, "Draining", "WorkersDraining")
        await space.until_gone("TaskQueue", QUEUE, timeout=60)
        await space.until_gone("Deployment", names.workload(QUEUE), timeout=120)  # 垃圾回收每 30 秒才认一次新的 CRD
        first = await platform.tasks.get(running[0])
        assert (first.state, first.attempt) == ("completed", 1)
        assert (await platform.tasks.get(waiting[0])).state == "available"
        assert await platform.tasks.attempts(running[0]) == []
