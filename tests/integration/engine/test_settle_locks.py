"""A stranger's lock on rows delays the outcomes of these rows and nothing else, and burns no attempt."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from taskmill import task
from taskmill.engine import constants as ec
from taskmill.engine.periodic.rescuer import Rescuer, RescuerConfig
from taskmill.engine.settler import Settler
from taskmill.ids import new_id
from taskmill.plugin.definition import RetryPolicy
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import Cause, State
from taskmill.stores import constants as sc
from taskmill.stores.tasks import claim as task_claim
from taskmill.stores.tasks.settle import Outcome
from tests.support.engines import consistent, finished, live, platform_of, staged, worker_on
from tests.support.locks import locked
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@task("test.any")
async def anything() -> None: ...


async def claimed(platform: Platform, count: int) -> list[Outcome]:
    worker_id = new_id()
    done = await platform.submit.submit_many([SubmitRequest(kind="test.any")] * count)
    rows = await task_claim.claim(platform.database.pool, [(d.id, 0) for d in done], worker_id, ["test.any:1"])
    return [Outcome(row["id"], row["claim_no"], worker_id, State.COMPLETED) for row in rows]


async def in_history(platform: Platform) -> int:
    return await platform.database.pool.fetchval("select count(*) from taskmill.task_history")


@pytest.mark.parametrize("state", [State.COMPLETED, State.RETRYABLE])
@pytest.mark.parametrize("blocked", [1, 2, 5])
async def test_locked_rows_delay_only_themselves(database_url: str, broker_url: str, blocked: int, state: State) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        outcomes = await claimed(platform, 20)
        cause = Cause.ERROR if state is State.RETRYABLE else None
        outcomes = [replace(outcome, state=state, delay_s=3_600.0, cause=cause) for outcome in outcomes]
        settler = Settler(platform.database)
        settler.start()
        async with locked(database_url, [o.id for o in outcomes[:: 20 // blocked][:blocked]]) as release:
            for outcome in outcomes:
                settler.put(outcome)
                await asyncio.sleep(0)
            await eventually(lambda: settler.backlog == blocked)
            more = await claimed(platform, 10)  # 之后来的也不受影响
            for outcome in more:
                settler.put(outcome)
            await eventually(lambda: settler.backlog == blocked)
            await eventually(lambda: len(settler.late()) == blocked)
            assert not release.is_set()
        await eventually(lambda: settler.backlog == 0)
        assert await settler.stop(5) == 0
        assert settler.settled == 30
        await consistent(platform)


async def test_a_stop_waits_for_locked_rows_no_longer_than_its_grace(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        outcomes = await claimed(platform, 3)
        settler = Settler(platform.database)
        settler.start()
        async with locked(database_url, [outcomes[0].id]):
            for outcome in outcomes:
                settler.put(outcome)
            assert await settler.stop(1.5) == 1
            assert await in_history(platform) == 2


async def test_a_stop_writes_rows_that_are_freed_within_its_grace(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        outcomes = await claimed(platform, 3)
        settler = Settler(platform.database)
        settler.start()
        async with locked(database_url, [outcomes[0].id]) as release:
            for outcome in outcomes:
                settler.put(outcome)
            await eventually(lambda: settler.backlog == 1)
            stopping = asyncio.create_task(settler.stop(30))
            release.set()
            assert await stopping == 0
        assert await in_history(platform) == 3


async def test_a_row_that_was_taken_while_it_was_locked_is_given_up(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        (mine,) = await claimed(platform, 1)
        settler = Settler(platform.database)
        settler.start()
        connection: Any = await asyncpg.connect(database_url)
        async with connection.transaction():
            await connection.execute("update taskmill.tasks set claim_no = claim_no + 1 where id = $1", mine.id)
            settler.put(mine)
            await eventually(lambda: settler._aside.is_set() or settler._locked)
        await eventually(lambda: settler.backlog == 0)
        await connection.close()
        assert await settler.stop(5) == 0
        assert settler.settled == 0
        assert (await live(platform, mine.id))["state"] == "running"  # type: ignore[index]


async def test_invariant_8_completed_tasks_whose_rows_are_locked_past_their_deadline_stay_completed(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker, a rescuer that looks all the time, a deadline that passes while a stranger holds some of the rows."""
    monkeypatch.setattr(ec, "SETTLING_S", 0.2)
    monkeypatch.setattr(sc, "REPORT_GRACE_S", 1.0)
    go, inside = asyncio.Event(), []

    @task("test.work", timeout=3, retry=RetryPolicy(max_attempts=1))
    async def work() -> None:
        inside.append(1)
        await go.wait()

    lease = 2.0  # 救援者一个租约之后才动手
    async with platform_of(database_url, broker_url, work, heartbeat_s=0.2, lease_s=lease) as platform, staged(platform):
        rescuer = Rescuer(platform.database, RescuerConfig(lease_s=lease, grace_s=1.5))
        async with worker_on(platform, concurrency=10):
            done = await platform.submit.submit_many([SubmitRequest(kind="test.work")] * 10)
            await eventually(lambda: len(inside) == 10)
            overdue = 0
            async with locked(database_url, [item.id for item in done[:2]]):
                go.set()
                await eventually(lambda: in_history_is(platform, 8))

                async def late() -> bool:
                    nonlocal overdue
                    overdue += (await rescuer.run_once())["overdue"]
                    return bool(
                        rescuer.armed
                        and await platform.database.pool.fetchval(
                            "select bool_and(deadline_at < now() - interval '2 s') from taskmill.tasks"
                        )
                    )

                await eventually(late, poll=0.05)
            for _ in range(20):
                overdue += (await rescuer.run_once())["overdue"]
            await finished(platform, 10)
        rows = await platform.database.pool.fetch("select state, count(*) as n from taskmill.task_history group by 1")
        assert ({row["state"]: row["n"] for row in rows}, overdue) == ({"completed": 10}, 0)
        await consistent(platform)


async def in_history_is(platform: Platform, count: int) -> bool:
    return await in_history(platform) == count
