"""Counts of failures on their way: they wait for nobody, and nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from taskmill.engine.settler import Settler
from taskmill.ids import new_id
from taskmill.services import constants as c
from taskmill.services.tasks.failing import FailureCounts
from taskmill.states import Cause, State
from taskmill.stores.database import LOCKED_OUT, Database
from taskmill.stores.tasks.failures import Failed
from taskmill.stores.tasks.partitions import ensure_partitions
from taskmill.stores.tasks.settle import Outcome
from tests.support import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    async with found.pool.acquire() as connection:
        await ensure_partitions(connection, 1)
    yield found
    await found.close()


def failed(name: str, number: int = 0) -> Failed:
    return Failed(name, "other", "k", "E", "m", "f", "q", UUID(int=number))


async def counted(database: Database) -> dict[str, int]:
    return {
        row["fingerprint"]: row["n"] for row in await database.pool.fetch("select fingerprint, n from taskmill.failures")
    }


async def test_a_close_writes_what_waits(database: Database) -> None:
    counts = FailureCounts(database)
    counts.note([failed("a"), failed("b"), failed("a")])
    counts.note([failed("a")])
    assert await counted(database) == {}
    await counts.close()
    assert await counted(database) == {"a": 3, "b": 1}


async def test_what_could_not_be_written_waits_with_what_came_meanwhile(database: Database) -> None:
    counts = FailureCounts(database)
    counts.note([failed("a", 1)])
    await counts.flush()
    counts.note([failed("a", 2), failed("b", 3)])
    async with database.transaction() as stranger:
        await stranger.execute("select from taskmill.failures for update")
        flushing = asyncio.create_task(counts.flush())
        await asyncio.sleep(0)
        counts.note([failed("a", 4)])
        with pytest.raises(LOCKED_OUT):
            await flushing
        assert await counted(database) == {"a": 1}
    await counts.close()
    assert await counted(database) == {"a": 3, "b": 1}
    ids = await database.pool.fetchval("select task_ids from taskmill.failures where n = 3")
    assert set(ids) == {UUID(int=1), UUID(int=2), UUID(int=4)}


async def test_what_waits_has_a_limit(database: Database) -> None:
    counts = FailureCounts(database)
    counts.note(failed(f"f{n:04}") for n in range(c.FAILURE_WAITING_MAX + 5))
    assert counts.waiting == c.FAILURE_WAITING_MAX + 1
    await counts.close()
    found = await counted(database)
    assert sum(found.values()) == c.FAILURE_WAITING_MAX + 5
    assert found["other"] >= 5


async def test_a_group_that_somebody_has_locked_delays_no_outcome(database: Database) -> None:
    counts = FailureCounts(database)
    counts.note([failed("a")])
    await counts.flush()
    settler, worker = Settler(database, failed=counts.note), new_id()
    async with database.transaction() as stranger:
        await stranger.execute("lock table taskmill.failures in access exclusive mode")
        ids = [await rows.add_running(database.pool, worker) for _ in range(20)]
        settler.start()
        for n, task_id in enumerate(ids):
            bad = {"cause": Cause.ERROR, "error_type": "E", "message": "m", "kind": "k"} if n % 5 == 0 else {}
            settler.put(Outcome(task_id, 1, worker, State.DISCARDED if bad else State.COMPLETED, **bad))  # type: ignore[arg-type]
        assert await settler.stop(20) == 0
        assert await database.pool.fetchval("select count(*) from taskmill.tasks") == 0
        assert counts.waiting == 1
    await counts.close()
    assert sorted((await counted(database)).values()) == [1, 4]


async def test_the_end_of_a_process_does_not_wait_for_a_lock(database: Database) -> None:
    counts = FailureCounts(database)
    async with database.transaction() as stranger:
        await stranger.execute("lock table taskmill.failures in access exclusive mode")
        counts.note([failed("a")])
        await counts.close()
        assert counts.waiting == 1
    assert await counted(database) == {}
