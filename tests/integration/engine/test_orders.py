"""Orders of an operator: cordon, un-cordon, fences, and what a worker says of itself meanwhile."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from taskmill import TaskContext, task
from taskmill.dev import ports
from taskmill.errors import Code, SetupError
from taskmill.services.fleet import FleetService, Order, WorkerFact
from taskmill.services.platform import Platform
from tests.support.engines import Engine, final, in_state, live, platform_of, stage, staged, submit, worker_on
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
POD = {"pod_name": "pod-1", "pod_uid": "uid-1", "bundle": "b1", "heartbeat_s": 0.2}
GATES: dict[str, asyncio.Event] = {}


@task("test.gated")
async def gated(gate: str) -> str:
    await GATES.setdefault(gate, asyncio.Event()).wait()
    return gate


@task("test.quick")
async def quick() -> None:
    return None


@task("test.blocking")
async def blocking(seconds: float, context: TaskContext) -> None:
    time.sleep(seconds)  # 故意堵住主循环


@asynccontextmanager
async def fleet_of(platform: Platform) -> AsyncIterator[FleetService]:
    fleet = await FleetService.open(platform.database.url)
    try:
        yield fleet
    finally:
        await fleet.close()


async def said(fleet: FleetService, *, ready: bool, seen: int, running: int | None = None) -> WorkerFact:
    """Wait until the only worker says so."""

    async def look() -> WorkerFact | None:
        facts = await fleet.workers()
        fits = [f for f in facts if (f.ready, f.order_seen) == (ready, seen) and running in (None, f.running)]
        return fits[0] if len(facts) == 1 and fits else None

    fact = await eventually(look, timeout=10, why=f"ready={ready} seen={seen} running={running}")
    assert fact is not None
    return fact


async def test_a_drained_worker_finishes_what_runs_reads_no_more_and_comes_back(database_url: str, broker_url: str) -> None:
    GATES.clear()
    async with (
        platform_of(database_url, broker_url, gated, quick, **POD) as platform,
        staged(platform),
        worker_on(platform) as engine,
        fleet_of(platform) as fleet,
    ):
        fact = await said(fleet, ready=True, seen=0)
        assert (fact.id, fact.pod, fact.bundle, fact.order) == (engine.worker.worker_id, "pod-1", "b1", Order.RUN)
        running = await submit(platform, "test.gated", {"gate": "a"})
        await in_state(platform, running, "running")

        assert await fleet.order(["uid-1"], Order.DRAIN, 5) == 1
        assert (await said(fleet, ready=True, seen=5)).running == 1
        waiting = await submit(platform, "test.quick")
        GATES["a"].set()
        assert (await final(platform, running))["state"] == "completed"
        assert (await said(fleet, ready=False, seen=5, running=0)).draining is False
        row = await live(platform, waiting)
        assert row is not None
        assert (row["state"], row["claim_no"]) == ("available", 0)

        assert await fleet.order(["uid-1"], Order.RUN, 5) == 1
        await said(fleet, ready=True, seen=5)
        assert (await final(platform, waiting))["state"] == "completed"
        assert engine.worker.slots.reserved >= 0


async def test_a_new_incarnation_of_a_drained_pod_stays_drained(database_url: str, broker_url: str) -> None:
    async with (
        platform_of(database_url, broker_url, quick, **POD) as platform,
        staged(platform),
        worker_on(platform) as engine,
        fleet_of(platform) as fleet,
    ):
        await fleet.order(["uid-1"], Order.DRAIN, 3)
        await said(fleet, ready=False, seen=3)
        first = engine.worker.worker_id
        await platform.database.pool.execute("update taskmill.workers set dead_at = now(), death = 'lease expired'")

        async def renewed() -> bool:
            return engine.worker.worker_id != first and [f.order_seen for f in await fleet.workers()] == [3]

        await eventually(renewed, timeout=10, why="a new incarnation that obeys")
        assert (await fleet.workers())[0].ready is False
        waiting = await submit(platform, "test.quick")
        await stage(platform)
        assert engine.worker.orders.cordoned is True
        assert engine.worker.claimed == 0
        await fleet.order(["uid-1"], Order.RUN, 3)
        assert (await final(platform, waiting))["state"] == "completed"


async def test_a_restarted_container_of_a_drained_pod_never_reads(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick, **POD) as platform, fleet_of(platform) as fleet:
        async with worker_on(platform):
            await fleet.order(["uid-1"], Order.DRAIN, 4)
        await submit(platform, "test.quick")
        await stage(platform)
        async with worker_on(platform) as engine:
            assert (await said(fleet, ready=False, seen=4)).order is Order.DRAIN
            assert engine.worker.claimed == 0


async def test_tickets_read_while_the_order_came_are_given_back(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick, **{**POD, "heartbeat_s": 5.0}) as platform:
        async with worker_on(platform) as engine, fleet_of(platform) as fleet:
            await eventually(lambda: engine.worker.slots.reserved > 0, why="a read under way")
            await fleet.order(["uid-1"], Order.DRAIN, 1)
            engine.worker.incarnation.heartbeat.poke()
            await eventually(lambda: engine.worker.orders.cordoned, why="the order has come")
            task_id = await submit(platform, "test.quick")
            await eventually(lambda: engine.worker.slots.reserved == 0, timeout=10, why="the read has ended")
            row = await live(platform, task_id)
            assert row is not None
            assert (row["state"], row["claim_no"], engine.worker.claimed) == ("available", 0, 0)
            assert await fleet.workers() != []


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_the_health_endpoint_answers_while_a_handler_blocks_the_loop(database_url: str, broker_url: str) -> None:
    port = ports.choose(None)
    settings = {**POD, "worker_health_port": port, "bind_host": "127.0.0.1"}
    async with (
        platform_of(database_url, broker_url, blocking, **settings) as platform,
        staged(platform),
        worker_on(platform) as engine,
        fleet_of(platform) as fleet,
    ):
        await said(fleet, ready=True, seen=0)
        assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 200
        task_id = await submit(platform, "test.blocking", {"seconds": 1.0})
        answers: list[tuple[float, int]] = []

        def ask() -> None:
            for _ in range(40):
                began = time.monotonic()
                status, _ = get(port, "/healthz")
                answers.append((time.monotonic() - began, status))
                time.sleep(0.05)

        await asyncio.to_thread(ask)
        await final(platform, task_id)
        assert {status for _, status in answers} == {200}
        assert max(seconds for seconds, _ in answers) < 0.9
        body = (await asyncio.to_thread(get, port, "/metrics"))[1]
        assert "taskmill_worker_claimed_total 1.0" in body
        await fleet.order(["uid-1"], Order.DRAIN, 1)
        await said(fleet, ready=False, seen=1)
        assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 503
        assert (await asyncio.to_thread(get, port, "/healthz"))[0] == 200
        second = Engine(platform, type(engine.worker)(platform))
        with pytest.raises(SetupError) as caught:
            await second.worker.run(second.stop)
        assert caught.value.code is Code.CONFIG_INVALID
