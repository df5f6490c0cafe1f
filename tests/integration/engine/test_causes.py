"""Causes of death that the cluster tells: what attempts record, what burns, and where tasks go after an oom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from asyncpg import Pool

from taskmill import OnOom, task
from taskmill.clock import FakeClock
from taskmill.engine.periodic.rescuer import Rescuer, RescuerConfig
from taskmill.services.fleet import FleetService, PodDeath
from taskmill.states import Cause
from taskmill.stores.database import Database
from taskmill.stores.tasks import partitions
from tests.support import rows
from tests.support.engines import platform_of, submit
from tests.support.platforms import catalog, opened

pytestmark = pytest.mark.anyio
LEASE = 20.0


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open()
    async with database.pool.acquire() as connection:
        await partitions.ensure_partitions(connection, 1)
    yield database
    await database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def rescuer(database: Database, clock: FakeClock) -> Rescuer:
    """A rescuer that has seen a full lease of quiet ticks."""
    made = Rescuer(database, RescuerConfig(lease_s=LEASE), clock=clock)
    for _ in range(4):
        await made.run_once()
        clock.advance(LEASE / 4)
    return made


@pytest.mark.parametrize(("cause", "crashes"), [("oom", 1), ("crash", 1), ("evicted", 0), ("drain", 0), ("node_lost", 0)])
async def test_invariant_8_what_a_death_costs(pool: Pool, rescuer: Rescuer, cause: str, crashes: int) -> None:
    worker = await rows.add_worker(pool, pod_uid="u", cause=cause)
    task_id = await rows.add_running(pool, worker, attempt=2, claim_no=3)

    counts = await rescuer.run_once()

    assert (counts["dead"], counts["rescued"]) == (1, 1)
    row = await rows.live(pool, task_id)
    assert (row["state"], row["attempt"], row["crash_count"], row["queue"]) == ("available", 1, crashes, "default")
    assert await rows.attempts(pool, task_id) == [(3, cause)]
    dead = await pool.fetchrow("select death, dead_at, ready from taskmill.workers where id = $1", worker)
    assert dead is not None
    assert (dead["death"], dead["ready"]) == ("pod ended", False)


async def test_a_rescuer_that_is_not_armed_leaves_the_buried_alone(pool: Pool, database: Database) -> None:
    worker = await rows.add_worker(pool, pod_uid="u", cause="oom")
    task_id = await rows.add_running(pool, worker)
    assert (await Rescuer(database).run_once())["dead"] == 0
    assert (await rows.live(pool, task_id))["state"] == "running"


async def test_invariant_8_infrastructure_never_discards(pool: Pool, rescuer: Rescuer) -> None:
    worker = await rows.add_worker(pool, pod_uid="u", cause="evicted")
    task_id = await rows.add_running(pool, worker, crash_count=2, attempt=5, max_attempts=5)
    await rescuer.run_once()
    row = await rows.live(pool, task_id)
    assert (row["state"], row["crash_count"], row["attempt"]) == ("available", 2, 4)


async def test_a_worker_that_stopped_by_itself_leaves_no_failure_whatever_the_cluster_says(
    pool: Pool, rescuer: Rescuer
) -> None:
    worker = await rows.add_worker(pool, pod_uid="u", cause="evicted", death="stopped")
    task_id = await rows.add_running(pool, worker)
    await rescuer.run_once()
    assert (await rows.live(pool, task_id))["crash_count"] == 0
    assert await rows.attempts(pool, task_id) == []


async def publish(pool: Pool, on_oom: str | None) -> None:
    await pool.execute(
        "insert into taskmill.kinds (kind, version, plugin, plugin_version, summary, queue, priority, max_attempts,"
        " timeout_ms, executor, args_schema, on_oom_queue)"
        " values ('demo.echo', 1, 'demo', '1', '', 'default', 2, 5, 1000, 'async', '{}', $1)", on_oom,
    )  # fmt: skip


async def test_after_an_oom_the_task_waits_where_its_kind_says(pool: Pool, rescuer: Rescuer) -> None:
    await publish(pool, "large")
    killed = await rows.add_running(pool, await rows.add_worker(pool, pod_uid="u", cause="oom"))
    crashed = await rows.add_running(pool, await rows.add_worker(pool, lease_s=-1))
    again = await rows.add_running(pool, await rows.add_worker(pool, pod_uid="v", cause="oom"), queue="large")
    last = await rows.add_running(pool, await rows.add_worker(pool, pod_uid="w", cause="oom"), crash_count=2)

    await rescuer.run_once()

    found = {task_id: await rows.live(pool, task_id) for task_id in (killed, crashed, again)}
    assert {i: (row["queue"], row["state"], row["crash_count"], row["ticket_at"]) for i, row in found.items()} == {
        killed: ("large", "available", 1, None), crashed: ("default", "available", 1, None),
        again: ("large", "available", 1, None),
    }  # fmt: skip
    assert (await rows.final(pool, last))["state"] == "discarded"
    assert await pool.fetchval("select count(*) from taskmill.queues where name = 'large'") == 1


@pytest.mark.parametrize(("cause", "crashes"), [(Cause.NODE_LOST, 0), (Cause.OOM, 1)])
async def test_a_death_told_late_amends_the_attempts(
    database_url: str, pool: Pool, rescuer: Rescuer, cause: Cause, crashes: int
) -> None:
    worker = await rows.add_worker(pool, lease_s=-1, pod_uid="u")
    task_id = await rows.add_running(pool, worker, claim_no=2)
    other = await rows.add_running(pool, await rows.add_worker(pool, lease_s=-1, pod_uid="other"), claim_no=2)
    await rescuer.run_once()
    assert await rows.attempts(pool, task_id) == [(2, "crash")]
    fleet = await FleetService.open(database_url)

    assert await fleet.bury([PodDeath("u", cause, await rows.now(pool))]) == 1

    await fleet.close()
    assert await rows.attempts(pool, task_id) == [(2, cause.value)]
    assert (await rows.live(pool, task_id))["crash_count"] == crashes
    assert (await rows.attempts(pool, other), (await rows.live(pool, other))["crash_count"]) == ([(2, "crash")], 1)


@pytest.mark.parametrize("lease_s", [20, -1], ids=["early", "late"])
async def test_a_worker_that_died_within_the_second_of_its_registration_gets_its_cause(
    database_url: str, pool: Pool, rescuer: Rescuer, lease_s: float
) -> None:
    """The cluster's times have no fractions: the death looks older than the registration."""
    worker = await rows.add_worker(pool, lease_s=lease_s, pod_uid="u")
    task_id = await rows.add_running(pool, worker)
    started = await pool.fetchval(
        "update taskmill.workers set started_at = date_trunc('second', now()) + interval '0.4 seconds' returning started_at"
    )
    if lease_s < 0:
        await rescuer.run_once()
    fleet = await FleetService.open(database_url)

    assert await fleet.bury([PodDeath("u", Cause.EVICTED, started.replace(microsecond=0))]) == 1

    await fleet.close()
    await rescuer.run_once()
    assert await rows.attempts(pool, task_id) == [(1, "evicted")]
    assert (await rows.live(pool, task_id))["crash_count"] == 0


async def test_a_lease_lost_while_the_container_lived_stays_a_crash(database_url: str, pool: Pool, rescuer: Rescuer) -> None:
    """Its process went on as a new incarnation; that it was evicted much later says nothing of the first."""
    zombie = await rows.add_worker(pool, lease_s=-1, pod_uid="u")
    task_id = await rows.add_running(pool, zombie)
    await rescuer.run_once()
    heir = await rows.add_worker(pool, pod_uid="u")
    fleet = await FleetService.open(database_url)

    assert await fleet.bury([PodDeath("u", Cause.EVICTED, await rows.now(pool))]) == 1

    await fleet.close()
    assert await pool.fetchval("select id from taskmill.workers where death_cause = 'evicted'") == heir
    assert await rows.attempts(pool, task_id) == [(1, "crash")]
    assert (await rows.live(pool, task_id))["crash_count"] == 1


async def test_a_kind_publishes_where_it_goes_after_an_oom(database_url: str, broker_url: str) -> None:
    @task("test.hungry", queue="small", on_oom=OnOom(queue="large"))
    async def hungry() -> None:
        return None

    async with platform_of(database_url, broker_url, hungry) as platform:
        assert (await catalog(platform).kind("test.hungry")).on_oom_queue == "large"
        assert platform.host.registry.queues() == ["default", "large", "small"]
        assert isinstance(await submit(platform, "test.hungry"), UUID)
    async with opened(database_url, broker_url) as platform:
        assert (await catalog(platform).kind("demo.echo")).on_oom_queue is None


@pytest.mark.parametrize("name", ["", "a b", "x{", "q" * 101])
def test_a_bad_queue_is_refused(name: str) -> None:
    arguments: dict[str, Any] = {"queue": name}
    with pytest.raises(ValueError, match="queue"):
        OnOom(**arguments)
