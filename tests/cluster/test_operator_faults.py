"""Secrets that turn, images that roll, databases that are ahead or away, API servers that restart."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest

from taskmill.dev.servers import PostgresServer
from taskmill.kube import names
from tests.cluster.kubelet.api import Json
from tests.cluster.operator_support import QueueSpace, Started, done, reason_of, rewritten, sleep_tasks, submitting
from tests.cluster.plane import ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400), pytest.mark.slow]
QUEUE = "emails"
SKIP = {"policy": "Skip"}


async def pods(space: QueueSpace) -> list[Json]:
    return [pod for pod in await space.list("Pod", names.selector_text(QUEUE)) if "deletionTimestamp" not in pod["metadata"]]


async def test_a_rotated_secret_rolls_the_workers(
    space: QueueSpace, operators: Started, connected: None, database_url: str
) -> None:
    await operators().leads()
    await space.queue(QUEUE, migration=SKIP, scaling={"minReplicas": 1})
    await space.serving(QUEUE, 1)
    before = {pod["metadata"]["uid"] for pod in await pods(space)}
    await space.secret("database", rewritten(database_url))

    async def replaced() -> bool:
        found = await pods(space)
        return len(found) == 1 and found[0]["metadata"]["uid"] not in before

    await eventually(replaced, timeout=150, poll=0.3, why="new workers")
    await space.serving(QUEUE, 1)


async def answers(space: QueueSpace) -> bool:
    try:
        await space.api.get(space.path("TaskQueue"))
    except aiohttp.ClientError:
        return False
    return True


async def test_a_restarted_api_server_changes_nothing_and_work_goes_on(
    space: QueueSpace, operators: Started, connected: None, plane: ControlPlane, database_url: str, broker_url: str
) -> None:
    operator = operators()
    await operator.leads()
    await space.queue(QUEUE, migration=SKIP, scaling={"minReplicas": 1})
    await space.serving(QUEUE, 1)
    before = {pod["metadata"]["uid"] for pod in await pods(space)}
    plane.api.restart()
    plane.controllers.restart()
    await eventually(lambda: answers(space), why="this test's own connection is made anew")
    await space.change("TaskQueue", QUEUE, spec={"stopPolicy": "Hold"})
    await space.condition(QUEUE, "Ready", "Suspended", timeout=60)
    await space.change("TaskQueue", QUEUE, spec={"stopPolicy": "None"})
    await space.serving(QUEUE, 1)
    assert {pod["metadata"]["uid"] for pod in await pods(space)} == before
    async with submitting(database_url, broker_url) as platform:
        await done(platform, await sleep_tasks(platform, QUEUE, 1, 0.1))
    queue = await space.api.get(space.path("TaskQueue", QUEUE))
    assert reason_of(queue, "Ready") == "AsDesired"


async def test_a_database_that_is_away_is_told_and_lowers_nothing(
    space: QueueSpace, operators: Started, own_postgres: Callable[..., PostgresServer], broker_url: str
) -> None:
    server = own_postgres()
    await space.secret("database", server.url)
    await space.secret("broker", broker_url)
    await operators().leads()
    await space.queue(QUEUE, migration=SKIP, scaling={"minReplicas": 1})
    await space.serving(QUEUE, 1)
    server.kill()
    await space.condition(QUEUE, "Ready", "DatabaseUnreachable", timeout=90)
    await space.condition(QUEUE, "ScalingActive", "MetricsStale", timeout=90)
    deployment = await space.find("Deployment", names.workload(QUEUE))
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 1
    server.start()
    await space.serving(QUEUE, 1, timeout=120)


async def test_a_schema_ahead_of_the_image_blocks_the_rollout(
    space: QueueSpace, operators: Started, connected: None, database_url: str
) -> None:
    import asyncpg

    connection = await asyncpg.connect(database_url)
    await connection.execute("update taskmill.alembic_version set version_num = '9999'")
    await connection.execute("update taskmill.schema_info set min_reader = '9999'")  # 旧程序读不了
    await connection.close()
    await operators().leads()
    await space.queue(QUEUE, scaling={"minReplicas": 1})
    queue = await space.condition(QUEUE, "Migrated", "SchemaAhead", timeout=120)
    assert reason_of(queue, "Stalled") != "NotStalled"
    assert await space.find("Deployment", names.workload(QUEUE)) is None
    assert await space.events("SchemaAhead")


async def test_a_schedule_reaches_the_database_and_goes_with_its_object(
    space: QueueSpace, operators: Started, connected: None, database_url: str, broker_url: str
) -> None:
    await operators().leads()
    async with submitting(database_url, broker_url):
        pass  # 让 shell.run 登记在册
    body = {
        "apiVersion": names.API_VERSION,
        "kind": "TaskSchedule",
        "metadata": {"name": "nightly"},
        "spec": {
            "connection": {"databaseSecretRef": {"name": "database"}, "brokerSecretRef": {"name": "broker"}},
            "kind": "shell.run",
            "args": {"argv": ["/usr/bin/sleep", "0"]},
            "cron": "0 3 * * *",
            "timeZone": "Europe/Berlin",
        },
    }
    await space.api.request("POST", space.path("TaskSchedule"), body)
    schedule = await space.until("TaskSchedule", "nightly", lambda each: reason_of(each, "Ready") == "Scheduled")
    assert schedule["status"]["nextFireTime"].endswith(":00:00Z")
    from taskmill.services.fleet import FleetService

    fleet = await FleetService.open(database_url)
    try:
        facts = await fleet.schedules()
        assert facts["nightly"].owner == f"{space.namespace}/nightly"
        await space.delete("TaskSchedule", "nightly")
        await space.until_gone("TaskSchedule", "nightly")
        assert await fleet.schedules() == {}
    finally:
        await fleet.close()
