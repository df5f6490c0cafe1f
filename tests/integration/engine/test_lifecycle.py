"""A worker's life: suspects, prefetch, drain, lost replies, lost leases."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from taskmill import constants as c
from taskmill import keys, task
from taskmill.engine import constants as ec
from taskmill.engine.attempts.attempt import Stop
from taskmill.engine.claimer import Claimer
from taskmill.engine.isolation import Isolation
from taskmill.engine.reader import Reader
from taskmill.engine.worker import WorkerRole
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.broker.tickets import Entry
from taskmill.stores.tasks import claim as task_claim
from tests.support.engines import (
    Engine,
    attempts,
    consistent,
    final,
    finished,
    in_state,
    live,
    platform_of,
    running,
    staged,
    submit,
    worker_on,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


class Gate:
    """A handler that waits until the test opens it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def __call__(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
        finally:
            self.inside -= 1


@task("test.quick")
async def quick() -> None: ...


def gated(gate: Gate, kind: str = "test.gated"):
    @task(kind)
    async def wait() -> None:
        await gate()

    return wait


async def _workers(platform: Platform, number: int) -> bool:
    return await platform.database.pool.fetchval("select count(*) from taskmill.workers") == number


async def count(platform: Platform, condition: str) -> int:
    return await platform.database.pool.fetchval(f"select count(*) from taskmill.tasks where {condition}")


async def test_invariant_8_only_one_suspect_runs_at_a_time(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate)) as platform:
        ids = [await submit(platform, "test.gated") for _ in range(3)]
        await platform.database.pool.execute("update taskmill.tasks set crash_count = $1", c.CRASH_BUDGET - 1)
        async with worker_on(platform), staged(platform):
            await eventually(lambda: count(platform, "state = 'scheduled'"))
            await eventually(lambda: gate.inside)
            assert await count(platform, "state = 'running'") == 1
            put_off = await platform.database.pool.fetchrow("select * from taskmill.tasks where state = 'scheduled' limit 1")
            assert put_off is not None
            assert (put_off["claim_no"], put_off["attempt"], put_off["crash_count"]) == (0, 0, c.SUSPECT_FROM)
            gate.open.set()
            for task_id in ids:
                assert (await final(platform, task_id))["attempt"] == 1
        assert gate.most == 1


async def test_invariant_8_a_suspect_is_claimed_only_by_a_worker_that_holds_nothing(
    database_url: str, broker_url: str
) -> None:
    """Were it claimed and handed back, a pill that kills at once would never be alone, and never end."""
    async with platform_of(database_url, broker_url, quick) as platform:
        ids = [await submit(platform, "test.quick") for _ in range(6)]
        await platform.database.pool.execute(
            "update taskmill.tasks set crash_count = $1 where id <> $2", c.SUSPECT_FROM, ids[3]
        )
        reader = Reader(platform.tickets, "victim", ["default"])
        claimer = Claimer(platform.database, platform.tickets, new_id(), ["test.quick:1"])
        found: list[Entry] = []
        while len(found) < len(ids):  # 票据在提交的答复之后才发
            found += [entry for entries in (await reader.read(6)).values() for entry in entries]
        found.sort(key=lambda entry: ids.index(entry[1].id))
        first, second = ({("default", c.PRIORITY_DEFAULT): part} for part in (found[:3], found[3:]))
        held = [row["crash_count"] for found in (second, first) async for rows in claimer.claim(found) for row in rows]
        assert held == [0]
        assert await count(platform, "state = 'running'") == 1
        assert await count(platform, "state = 'scheduled' and claim_no = 0 and run_at > now()") == 5
        await platform.database.pool.execute(
            "update taskmill.tasks set state = 'available', run_at = now() where state = 'scheduled'"
        )
        other = new_id()
        for expected in (1, 0):
            rows = await task_claim.claim_suspect(platform.database.pool, [(i, 0) for i in ids], other, ["test.quick:1"])
            assert len(rows) == expected


async def test_invariant_8_nothing_else_runs_beside_a_suspect(database_url: str, broker_url: str) -> None:
    before, inside, company = Gate(), Gate(), []

    @task("test.suspect")
    async def suspicious() -> None:
        await inside()

    @task("test.other")
    async def another() -> None:
        company.append(inside.inside)

    async with platform_of(database_url, broker_url, gated(before), suspicious, another) as platform:
        first = await submit(platform, "test.gated")
        async with worker_on(platform) as engine, staged(platform):
            await eventually(lambda: before.inside)
            suspect = await submit(platform, "test.suspect", delay_s=0.2)
            await platform.database.pool.execute(
                "update taskmill.tasks set crash_count = $2 where id = $1", suspect, c.SUSPECT_FROM
            )
            await eventually(lambda: engine.worker.slots.isolating, why="room is made for the suspect")
            assert (await live(platform, suspect))["claim_no"] == 0  # type: ignore[index]
            before.open.set()
            await eventually(lambda: inside.inside, why="the suspect runs")
            assert await final(platform, first)
            other = await submit(platform, "test.other")
            assert engine.worker.slots.room() == 0
            assert await count(platform, "state = 'running'") == 1
            inside.open.set()
            for task_id in (suspect, other):
                assert (await final(platform, task_id))["state"] == "completed"
            assert company == [0]


async def test_room_for_a_suspect_is_not_waited_for_without_end(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot be emptied goes back to work for a while; the suspect waits for a better time."""
    monkeypatch.setattr(ec, "ISOLATION_S", 0.2)
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate), quick) as platform:
        long = await submit(platform, "test.gated")
        async with worker_on(platform, concurrency=4) as engine, staged(platform):
            await eventually(lambda: gate.inside)
            suspect = await submit(platform, "test.quick", delay_s=0.1)
            await platform.database.pool.execute(
                "update taskmill.tasks set crash_count = $2 where id = $1", suspect, c.SUSPECT_FROM
            )
            await eventually(lambda: engine.worker.slots.isolating)
            assert (await final(platform, await submit(platform, "test.quick")))["state"] == "completed"
            assert not gate.open.is_set()
            gate.open.set()
            assert (await final(platform, suspect))["state"] == "completed"
            assert (await final(platform, long))["state"] == "completed"


async def test_after_a_suspect_the_worker_is_for_the_others_as_long_as_that_one_ran(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, quick) as platform, worker_on(platform) as engine:
        slots = engine.worker.slots
        isolation = Isolation(slots)
        async with isolation.alone(lambda: False) as alone:
            assert alone
            assert slots.room() == 0
            async with isolation.alone(lambda: False) as second:
                assert not second
        assert not slots.isolating
        slots.common_until = time.monotonic() + 60
        async with isolation.alone(lambda: False) as alone:
            assert not alone


async def test_a_cancel_reaches_what_is_claimed_and_not_started(database_url: str, broker_url: str) -> None:
    gate, ran = Gate(), []

    @task("test.never")
    async def never() -> None:
        ran.append(1)

    async with platform_of(database_url, broker_url, gated(gate), quick, never, heartbeat_s=0.1) as platform:
        async with worker_on(platform, concurrency=1) as engine:
            await platform.submit.submit_many([SubmitRequest(kind="test.quick")] * 80)  # 让它以为任务都很短
            await finished(platform, 80)
            done = await platform.submit.submit_many([SubmitRequest(kind=kind) for kind in ("test.gated", "test.never")])
            await eventually(lambda: len(engine.worker.slots.ready) == 1, why="prefetched")
            engine.worker.slots.ready[0].claimed += 1_000  # 不让它因等太久而交还
            await platform.tasks.cancel(done[1].id)
            assert (await final(platform, done[1].id))["state"] == "cancelled"
            assert not gate.open.is_set()
            gate.open.set()
            await finished(platform, 82)
        assert ran == []
        await consistent(platform)


async def test_a_cancel_that_overtakes_the_reply_to_the_claim_stops_the_start(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate)) as platform, worker_on(platform) as engine:
        task_id = await submit(platform, "test.gated", delay_s=3_600)
        worker = engine.worker
        worker.incarnation.cancels = frozenset({task_id})
        await platform.database.pool.execute(
            "update taskmill.tasks set state = 'available', run_at = now(), cancel_requested_at = now() where id = $1",
            task_id,
        )
        rows = await task_claim.claim(platform.database.pool, [(task_id, 0)], worker.worker_id, ["test.gated:1"])
        worker.incarnation.take(rows)
        assert (await final(platform, task_id))["state"] == "cancelled"
        assert gate.inside == 0


async def test_nothing_starts_once_the_lease_may_be_over(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate)) as platform, worker_on(platform) as engine:
        task_id = await submit(platform, "test.gated", delay_s=3_600)
        worker = engine.worker
        await platform.database.pool.execute(
            "update taskmill.tasks set state = 'available', run_at = now() where id = $1", task_id
        )
        rows = await task_claim.claim(platform.database.pool, [(task_id, 0)], worker.worker_id, ["test.gated:1"])
        worker.incarnation.heartbeat.last_renewal -= c.LEASE_S  # 认领之后冻结，醒来才处理回复
        worker.incarnation.take(rows)
        await eventually(lambda: count(platform, "state = 'available' and claim_no = 1 and attempt = 0"), why="handed back")
        assert (gate.inside, len(worker.slots.running)) == (0, 0)
        worker.incarnation.heartbeat.poke()
        await eventually(lambda: worker.incarnation.heartbeat.fresh, why="the lease is renewed")
        gate.open.set()
        async with staged(platform):
            assert (await final(platform, task_id))["attempt"] == 1


async def test_what_was_prefetched_and_cannot_start_is_handed_back(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with (
        platform_of(database_url, broker_url, gated(gate), quick) as platform,
        worker_on(platform, concurrency=1) as engine,
    ):
        await platform.submit.submit_many([SubmitRequest(kind="test.quick")] * 80)  # 让它以为任务都很短
        await finished(platform, 80)
        await platform.submit.submit_many([SubmitRequest(kind="test.gated"), *[SubmitRequest(kind="test.quick")] * 5])
        await eventually(lambda: len(engine.worker.slots.ready), why="prefetched")
        await eventually(lambda: count(platform, "state = 'available' and claim_no = 1 and attempt = 0"))
        assert await platform.database.pool.fetchval("select count(*) from taskmill.task_attempts") == 0
        gate.open.set()
        async with staged(platform):
            await finished(platform, 86)
        await consistent(platform)


async def test_long_tasks_are_not_prefetched(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate)) as platform:
        await platform.submit.submit_many([SubmitRequest(kind="test.gated")] * 20)
        async with worker_on(platform, concurrency=3):
            await eventually(lambda: gate.inside == 3)
            assert await count(platform, "state = 'running'") == 3
            assert await platform.tickets.length("default", 2) <= 20


async def cancel(platform: Platform, _: Gate, task_id: UUID) -> None:
    await platform.tasks.cancel(task_id)


async def let_go(_: Platform, gate: Gate, __: UUID) -> None:
    gate.open.set()


@pytest.mark.parametrize(("act", "state"), [(let_go, "completed"), (cancel, "cancelled")], ids=["finish", "cancel"])
async def test_a_drain_lets_running_tasks_end_as_they_would(
    database_url: str, broker_url: str, act: Callable[[Platform, Gate, UUID], Awaitable[None]], state: str
) -> None:
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate)) as platform:
        task_id = await submit(platform, "test.gated")
        async with worker_on(platform) as engine:
            await eventually(lambda: gate.inside)
            engine.stop.set()
            await eventually(lambda: _draining(platform))
            await act(platform, gate, task_id)
            assert await engine.halt() == 0
            row = await final(platform, task_id)
            assert (row["state"], row["attempt"]) == (state, 1)


async def _draining(platform: Platform) -> bool:
    return await platform.database.pool.fetchval("select bool_and(draining) from taskmill.workers")


@pytest.mark.parametrize("second_signal", [False, True])
async def test_invariant_8_drain_hands_the_rest_back_uncounted(
    database_url: str, broker_url: str, *, second_signal: bool
) -> None:
    gate = Gate()
    grace = 60 if second_signal else 0.1
    async with platform_of(database_url, broker_url, gated(gate), drain_grace_s=grace) as platform:
        ids = [await submit(platform, "test.gated") for _ in range(12)]
        async with worker_on(platform, concurrency=5) as engine:
            await eventually(lambda: gate.inside == 5)
            engine.stop.set()
            if second_signal:
                engine.now.set()
            assert await engine.halt() == 5
        assert await count(platform, "state = 'available' and attempt = 0 and worker_id is null") == 12
        cut = [a for task_id in ids for a in await attempts(platform, task_id)]
        assert [(a["cause"], a["attempt"], a["error_type"]) for a in cut] == [("drain", 1, None)] * 5
        worker = await platform.database.pool.fetchrow("select dead_at, death from taskmill.workers")
        assert worker is not None
        assert worker["dead_at"] is not None
        assert await platform.tickets.redis.xinfo_consumers(keys.tickets("default", 2), keys.GROUP) == []


async def test_a_thread_that_does_not_end_does_not_hold_up_the_drain(database_url: str, broker_url: str) -> None:
    release = threading.Event()

    @task("test.deaf")
    def deaf() -> None:
        release.wait(200)

    async with platform_of(database_url, broker_url, deaf, drain_grace_s=0.1) as platform:
        task_id = await submit(platform, "test.deaf")
        async with worker_on(platform) as engine:
            await in_state(platform, task_id, "running")
            assert await engine.halt() == 1
        row = await live(platform, task_id)
        assert row is not None
        assert (row["state"], row["attempt"]) == ("available", 0)
        release.set()


async def test_unclaimed_tickets_are_given_back_at_the_end(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        ids = [await submit(platform, "test.quick") for _ in range(5)]
        await platform.submit.close()
        reader = Reader(platform.tickets, "leaver", ["default"])
        assert sum(len(entries) for entries in (await reader.read(5)).values()) == 5
        claimer = Claimer(platform.database, platform.tickets, new_id(), ["test.quick:1"])
        await claimer.give_back(await reader.own_pending())
        await reader.stop()
        assert await count(platform, "ticket_at is null") == len(ids)
        assert await platform.tickets.length("default", 2) == 0
        assert await platform.tickets.redis.xinfo_consumers(keys.tickets("default", 2), keys.GROUP) == []


@pytest.mark.parametrize("when", ["doubt", "drain"])
async def test_a_claim_whose_reply_was_lost_is_handed_back(database_url: str, broker_url: str, when: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        task_id = await submit(platform, "test.quick", queue="elsewhere")
        async with worker_on(platform, queues=["default"]) as engine:
            claimed = await task_claim.claim(
                platform.database.pool, [(task_id, 0)], engine.worker.worker_id, ["test.quick:1"]
            )
            assert len(claimed) == 1
            if when == "drain":
                await engine.halt()
            else:
                engine.worker.incarnation.claimer.doubt()
            row = await in_state(platform, task_id, "available")
            assert (row["attempt"], row["claim_no"], row["worker_id"]) == (0, 1, None)


async def test_invariant_3_a_worker_whose_lease_is_lost_stops_and_starts_anew(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with running(database_url, broker_url, gated(gate), quick, heartbeat_s=0.1) as platform:
        task_id = await submit(platform, "test.gated")
        await eventually(lambda: gate.inside)
        before = await in_state(platform, task_id, "running")
        await platform.database.pool.execute("update taskmill.workers set dead_at = now()")
        await eventually(lambda: gate.inside == 0, why="handler stopped")
        await eventually(lambda: _workers(platform, 2))
        assert await live(platform, task_id) == before  # 行归救援者管，死掉的编号什么也不写
        row = await final(platform, await submit(platform, "test.quick"))
        assert row["worker_id"] != before["worker_id"]


async def test_without_renewals_a_worker_stops_reading_but_keeps_running(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate), quick, lease_s=1, heartbeat_s=0.1) as platform:
        async with worker_on(platform) as engine:
            heartbeat = engine.worker.incarnation.heartbeat
            await submit(platform, "test.gated")
            await eventually(lambda: gate.inside)
            await heartbeat.stop()
            await eventually(lambda: not heartbeat.fresh)
            await eventually(lambda: engine.worker.slots.reserved == 0, why="the read under way ended")
            waiting = await submit(platform, "test.quick")
            await asyncio.sleep(0.3)
            row = await live(platform, waiting)
            assert gate.inside == 1
            assert row is not None
            assert row["state"] == "available"


async def test_a_handler_cancelled_before_its_first_step_frees_its_slot(database_url: str, broker_url: str) -> None:
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate), quick) as platform:
        async with worker_on(platform, concurrency=1) as engine:
            take = engine.worker.slots.add

            def add_and_halt(attempt: object) -> None:
                take(attempt)  # type: ignore[arg-type]
                engine.worker.slots.halt(Stop.CANCEL)
                engine.worker.slots.add = take  # type: ignore[method-assign]

            engine.worker.slots.add = add_and_halt  # type: ignore[method-assign]
            assert (await final(platform, await submit(platform, "test.gated")))["state"] == "cancelled"
            assert (await final(platform, await submit(platform, "test.quick")))["state"] == "completed"


async def test_invariant_3_a_lease_that_is_lost_during_a_drain_stops_what_still_runs(
    database_url: str, broker_url: str
) -> None:
    """The rows belong to others from then on, however long the grace is."""
    gate = Gate()
    async with platform_of(database_url, broker_url, gated(gate), heartbeat_s=0.1, drain_grace_s=600) as platform:
        task_id = await submit(platform, "test.gated")
        engine = await Engine(platform, WorkerRole(platform, (), 1)).start()
        await eventually(lambda: gate.inside)
        row = await in_state(platform, task_id, "running")
        engine.stop.set()
        await eventually(lambda: engine.worker.vitals.draining)
        await platform.database.pool.execute("update taskmill.workers set dead_at = now()")
        assert engine.task is not None
        assert await asyncio.wait_for(engine.task, 60) == 0
        assert gate.inside == 0
        assert await live(platform, task_id) == row


async def test_a_worker_that_cannot_register_leaves_no_rows_behind(database_url: str, broker_url: str) -> None:
    """Neither of workers that never were: the row and the queues are written together or not at all."""
    async with platform_of(database_url, broker_url, quick) as platform:
        await platform.database.pool.execute("alter table taskmill.queues rename to gone")
        engine = Engine(platform, WorkerRole(platform, ["fresh"], 1))
        engine.task = asyncio.create_task(engine.worker.run(engine.stop))
        ids: set[object] = set()
        await eventually(lambda: ids.add(engine.worker.worker_id) or len(ids) >= 3, why="it tried again")
        assert await count_workers(platform) == 0
        await platform.database.pool.execute("alter table taskmill.gone rename to queues")
        await asyncio.wait_for(engine.worker.ready.wait(), 60)
        assert await count_workers(platform) == 1
        await engine.halt()


async def count_workers(platform: Platform) -> int:
    return await platform.database.pool.fetchval("select count(*) from taskmill.workers")
