"""The fleet: what an operator reads and writes, on PostgreSQL alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from asyncpg import Pool

from taskmill.errors import Code, ConflictError, InputError, NotFoundError, SetupError, UnavailableError
from taskmill.services.fleet import FleetService, Order, PodDeath, QueuePolicyChange, ScheduleRequest
from taskmill.states import Cause
from taskmill.stores.schema import migrations
from tests.conftest import PostgresFactory
from tests.support import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fleet(database_url: str) -> AsyncIterator[FleetService]:
    service = await FleetService.open(database_url)
    yield service
    await service.close()


async def add_pod(pool: Pool, uid: str, *, age_s: float = 60.0, **columns: Any) -> UUID:
    """Insert a living worker that runs in the pod `uid`."""
    worker_id = await rows.add_worker(pool, lease_s=columns.pop("lease_s", 20.0))
    values = {"pod": f"pod-{uid}", "pod_uid": uid, "bundle": "b1", **columns}
    names = ", ".join(f"{name} = ${n}" for n, name in enumerate(values, 3))
    await pool.execute(
        f"update taskmill.workers set started_at = now() - $2 * interval '1 second', {names} where id = $1",
        worker_id,
        age_s,
        *values.values(),
    )
    return worker_id


async def test_observe_counts_live_work_and_what_ended_in_the_window(fleet: FleetService, pool: Pool) -> None:
    now = await rows.now(pool)
    for seconds in (5, 90):
        await rows.add_task(pool, queue="a", run_at=now - timedelta(seconds=seconds))
    await rows.add_task(pool, queue="a", state="scheduled", run_at=now + timedelta(seconds=10))
    await rows.add_task(pool, queue="a", state="retryable", run_at=now + timedelta(seconds=3_000))
    await rows.add_running(pool, await rows.add_worker(pool), queue="a")
    await pool.execute("insert into taskmill.queues (name) values ('idle')")
    for outcome, minutes, n in (("completed", 0, 3), ("discarded", 0, 1), ("cancelled", 0, 7), ("completed", 30, 50)):
        await pool.execute(
            "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, run_ms)"
            " values (date_trunc('minute', now()) - $1 * interval '1 minute', 'a', 'demo.echo', $2, gen_random_uuid(), $3, $4)",
            minutes,
            outcome,
            n,
            n * 500,
        )

    loads = await fleet.observe(since=now - timedelta(minutes=5), horizon_s=60)

    assert set(loads) == {"a", "idle"}
    a, idle = loads["a"], loads["idle"]
    assert (a.ready, a.running, a.due_soon, a.finished) == (2, 1, 1, 4)
    assert 90 <= a.oldest_wait_s < 120
    assert (idle.ready, idle.running, idle.due_soon, idle.oldest_wait_s, idle.finished) == (0, 0, 0, 0.0, 0)
    assert now <= a.at <= await rows.now(pool)


async def test_observe_tells_which_kinds_are_served_outside_pods(fleet: FleetService, pool: Pool) -> None:
    await pool.execute("insert into taskmill.queues (name) values ('a'), ('b')")
    serving = {"outside": ("a", "x:1"), "twin": ("a", "x:1"), "over": ("a", "y:1")}
    for name, (queue, kind) in serving.items():
        worker_id = await rows.add_worker(pool, lease_s=-1 if name == "over" else 20)
        update = "update taskmill.workers set queues = array[$2::text], kinds = array[$3::text] where id = $1"
        await pool.execute(update, worker_id, queue, kind)
    await add_pod(pool, "u1", queues=["a"], kinds=["z:1"])

    loads = await fleet.observe(since=await rows.now(pool), horizon_s=60)

    assert {name: load.elsewhere for name, load in loads.items()} == {"a": ("x:1",), "b": ()}


async def test_workers_are_the_living_ones_in_pods(fleet: FleetService, pool: Pool) -> None:
    await rows.add_worker(pool)
    await add_pod(pool, "late", lease_s=-1)
    worker_id = await add_pod(pool, "u1", running=3, ready=True)

    (fact,) = await fleet.workers()

    assert (fact.id, fact.pod_uid, fact.pod, fact.bundle, fact.queues) == (worker_id, "u1", "pod-u1", "b1", ("default",))
    assert (fact.running, fact.ready, fact.draining, fact.concurrency) == (3, True, False, 10)
    assert (fact.order, fact.order_token, fact.order_seen) == (Order.RUN, 0, 0)


async def test_an_order_with_an_older_token_is_refused(fleet: FleetService, pool: Pool) -> None:
    await add_pod(pool, "u1")
    await add_pod(pool, "u2")

    assert await fleet.order(["u1"], Order.DRAIN, 7) == 1
    assert await fleet.order(["u1", "u2"], Order.RUN, 6) == 1
    facts = {fact.pod_uid: fact for fact in await fleet.workers()}
    assert (facts["u1"].order, facts["u1"].order_token, facts["u1"].order_seen) == (Order.DRAIN, 7, -1)
    assert (facts["u2"].order, facts["u2"].order_token) == (Order.RUN, 6)
    assert await fleet.order(["u1"], Order.DRAIN, 7) == 0
    assert await fleet.order(["u1"], Order.RUN, 8) == 1
    assert await fleet.order([], Order.RUN, 9) == 0


async def test_only_a_change_of_the_order_has_to_be_obeyed_anew(fleet: FleetService, pool: Pool) -> None:
    worker_id = await add_pod(pool, "u1")
    await fleet.order(["u1"], Order.DRAIN, 1)
    await pool.execute("update taskmill.workers set order_seen = order_no where id = $1", worker_id)
    assert (await fleet.workers())[0].order_seen == 1

    await fleet.order(["u1"], Order.DRAIN, 2)
    assert (await fleet.workers())[0].order_seen == 2
    for order in (Order.RUN, Order.DRAIN):
        await fleet.order(["u1"], order, 2)
    assert (await fleet.workers())[0].order_seen == -1


async def test_bury_spares_the_container_that_was_started_again(fleet: FleetService, pool: Pool) -> None:
    now = await rows.now(pool)
    old = await add_pod(pool, "u1", age_s=60)
    new = await add_pod(pool, "u1", age_s=1)

    assert await fleet.bury([PodDeath("u1", Cause.OOM, now - timedelta(seconds=5))]) == 1
    assert await fleet.bury([PodDeath("u1", Cause.OOM, now - timedelta(seconds=5))]) == 0

    causes = {row["id"]: row["death_cause"] for row in await pool.fetch("select id, death_cause from taskmill.workers")}
    assert causes == {old: "oom", new: None}
    with pytest.raises(ValueError, match="timeout"):
        await fleet.bury([PodDeath("u1", Cause.TIMEOUT, now)])


async def test_queue_policies(fleet: FleetService, pool: Pool) -> None:
    await fleet.put_queue("mail", QueuePolicyChange(paused=True, retention_s=60), by="operator")
    await fleet.put_queue("mail", QueuePolicyChange(paused=True), by="somebody")
    (policy,) = (await fleet.queues()).values()
    assert (policy.paused, policy.paused_by, policy.settings["retention_s"]) == (True, "operator", 60)
    await fleet.put_queue("mail", QueuePolicyChange(paused=True), by="the object", former="another")
    await fleet.put_queue("mail", QueuePolicyChange(paused=True), by="the object", former="operator")
    assert (await fleet.queues())["mail"].paused_by == "the object"

    await fleet.put_queue("mail", QueuePolicyChange(paused=False, retention_s=None), by="operator")
    (policy,) = (await fleet.queues()).values()
    assert (policy.paused, policy.paused_by, policy.settings["retention_s"]) == (False, None, None)
    with pytest.raises(InputError) as caught:
        await fleet.put_queue("mail", QueuePolicyChange(retention_s=-1), by="operator")
    assert caught.value.details["field"] == "retention_s"


async def publish_kind(pool: Pool) -> None:
    schema = b'{"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": false}'
    await pool.execute(
        "insert into taskmill.kinds (kind, version, plugin, plugin_version, summary, queue, priority, max_attempts,"
        " timeout_ms, executor, args_schema) values ('demo.echo', 1, 'demo', '1', '', 'default', 2, 5, 1000, 'async', $1)",
        schema,
    )


async def test_schedules_of_the_cluster_are_made_changed_and_removed(fleet: FleetService, pool: Pool) -> None:
    await publish_kind(pool)
    request = ScheduleRequest(name="nightly", kind="demo.echo", args={"n": 1}, cron="0 8 * * *", timezone="Asia/Shanghai")
    made = await fleet.put_schedule(request, owner="ns/nightly")
    assert (made.name, made.owner, made.paused) == ("nightly", "ns/nightly", False)
    assert made.next_fire_at is not None
    again = await fleet.put_schedule(request, owner="ns/nightly")
    assert again == made

    held = await fleet.put_schedule(request, owner="ns/nightly", suspend=True)
    assert (held.paused, held.next_fire_at) == (True, None)
    request.args = {"n": 2}
    assert (await fleet.put_schedule(request, owner="ns/nightly")).paused is False
    assert set(await fleet.schedules()) == {"nightly"}

    with pytest.raises(ConflictError) as caught:
        await fleet.put_schedule(request, owner="other/nightly")
    assert caught.value.code is Code.SCHEDULE_EXISTS
    assert await fleet.delete_schedule("nightly", owner="other/nightly") is False
    assert await fleet.delete_schedule("nightly", owner="ns/nightly") is True
    assert await fleet.schedules() == {}


async def test_a_bad_schedule_says_what_is_wrong(fleet: FleetService, pool: Pool) -> None:
    with pytest.raises(NotFoundError) as unknown:
        await fleet.put_schedule(ScheduleRequest(name="s", kind="demo.echo", interval_s=60), owner="ns/s")
    assert unknown.value.code is Code.KIND_NOT_FOUND
    await publish_kind(pool)
    for change, code in (
        ({"interval_s": 60.0, "args": {"n": "one"}}, Code.ARGS_INVALID),
        ({"cron": "every day"}, Code.SCHEDULE_INVALID),
        ({"interval_s": 60.0, "timezone": "Mars/Base"}, Code.SCHEDULE_INVALID),
        ({"interval_s": 60.0, "queue": "no such{"}, Code.INVALID_REQUEST),
    ):
        with pytest.raises(InputError) as caught:
            await fleet.put_schedule(ScheduleRequest(name="s", kind="demo.echo", **change), owner="ns/s")  # type: ignore[arg-type]
        assert caught.value.code is code, change


async def test_a_database_without_schema_is_told_as_behind(empty_database_url: str) -> None:
    fleet = await FleetService.open(empty_database_url)
    for call in (fleet.workers(), fleet.queues(), fleet.schedules(), fleet.order(["u"], Order.RUN, 1)):
        with pytest.raises(SetupError) as caught:
            await call
        assert caught.value.code is Code.SCHEMA_BEHIND
    await fleet.close()


@pytest.mark.parametrize("revision", ["0002", "0007", "0008", "0011", "0012", "0013", "0014", "0015", "0016", "0017"])
async def test_a_database_that_is_not_migrated_yet_is_seen_all_the_same(empty_database_url: str, revision: str) -> None:
    """One that is taken for empty loses its pods with what they run: a new operator meets it before the migration Job has run."""
    await migrations.upgrade(empty_database_url)
    await migrations.downgrade(empty_database_url, revision)
    fleet = await FleetService.open(empty_database_url)
    change = QueuePolicyChange(paused=True, retention_s=60, max_running=5)
    await fleet.put_queue("mail", change, by="operator")
    assert set(await fleet.observe(since=datetime.now(UTC), horizon_s=60)) == {"mail"}
    assert await fleet.workers() == []
    policy = (await fleet.queues())["mail"]
    assert (policy.paused, policy.settings["retention_s"]) == (True, 60)
    assert policy.lacks("max_running") is (revision < "0009")
    assert policy.settings.get("max_running") == (None if revision < "0009" else 5)
    await fleet.close()


async def test_a_database_that_is_away_is_told_and_comes_back(own_postgres: PostgresFactory) -> None:
    server = own_postgres()
    fleet = await FleetService.open(server.url)
    assert await fleet.workers() == []
    server.kill()
    with pytest.raises(UnavailableError):
        await fleet.workers()
    with pytest.raises(UnavailableError):
        await fleet.queues()
    server.start()
    assert await fleet.workers() == []
    assert await fleet.queues() == {}
    await fleet.close()
