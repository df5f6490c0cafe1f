"""Sequences with several connections at work at once: what holds whoever comes first."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

import pytest

from taskmill.ids import new_id
from taskmill.states import FINAL, State
from taskmill.stores.database import Connection, Database
from taskmill.stores.tasks import control, partitions
from taskmill.stores.tasks.order import sequences
from taskmill.stores.tasks.submit import NewTask
from tests.support.orders import add, end, let_go, new_task, start

pytestmark = pytest.mark.anyio
PATIENCE_MS = 30_000
LIMIT_S = 60
# 号码比它小的，此刻看得到的
BEFORE = """
select count(*) from taskmill.tasks t join taskmill.tasks me on me.id = $1
where t.sequence_key = me.sequence_key and t.sequence_no < me.sequence_no
"""
RUNNING = """
select count(*) from taskmill.tasks t join taskmill.tasks me on me.id = $1
where t.sequence_key = me.sequence_key and t.state = 'running'
"""
STOPPED = """
select count(*) from taskmill.sequence_stops s join taskmill.tasks me on me.id = $1
where s.key = me.sequence_key and s.no < me.sequence_no
"""
DONE = "select count(*) from taskmill.task_history"


@pytest.fixture(autouse=True)
async def today(database: Database) -> None:
    async with database.pool.acquire() as connection:
        await partitions.ensure_partitions(connection, 1)


class _UndoneError(Exception):
    pass


def randoms(seed: int) -> list[random.Random]:
    return [random.Random(seed * 10 + n) for n in range(6)]  # noqa: S311 - 要能重现


async def count(connection: Connection, made: list[NewTask], undo: bool) -> dict[UUID, int]:
    counts = {task.id: await connection.fetchval(BEFORE, task.id) for task in made}
    if undo:
        raise _UndoneError
    return counts


@pytest.mark.parametrize("seed", range(3))
async def test_numbers_are_in_the_order_of_commits(database: Database, seed: int) -> None:
    """Whoever draws a number sees every lower one that is ever committed, so each of these was committed before."""
    seen: dict[UUID, int] = {}

    async def submit(rng: random.Random) -> None:
        for _ in range(10):
            made = [new_task(rng.choice("ab")) for _ in range(rng.randrange(1, 4))]
            try:
                async with database.transaction() as connection:
                    await add(connection, *made, wait_ms=PATIENCE_MS)
                    counts = await count(connection, made, undo=rng.random() < 0.2)
            except _UndoneError:
                continue
            seen.update(counts)

    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*map(submit, randoms(seed)))
    rows = await database.pool.fetch("select id, sequence_key, sequence_no from taskmill.tasks order by sequence_no")
    for key in "ab":
        ids = [row["id"] for row in rows if row["sequence_key"] == key]
        assert [seen[each] for each in ids] == list(range(len(ids)))
        assert len({row["sequence_no"] for row in rows if row["sequence_key"] == key}) == len(ids)


class Crowd:
    """Submitters, workers, schedulers and somebody who skips what failed, all at once on connections of their own."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.seed = database, seed
        self.wanted = self.done = 0
        self.submitting = True

    @property
    def over(self) -> bool:
        """Say whether everything that was submitted has ended."""
        return not self.submitting and self.done >= self.wanted

    async def submit(self, rng: random.Random) -> None:
        """Submit tasks of two sequences, some of which stop theirs if they fail."""
        for _ in range(15):
            async with self.database.pool.acquire() as connection:
                await add(connection, new_task(rng.choice("ab"), stop=rng.random() < 0.5), wait_ms=PATIENCE_MS)
            self.wanted += 1

    async def work(self, rng: random.Random) -> None:
        """Run whatever may run, and look whether it might."""
        while not self.over:
            rows = await self.database.pool.fetch("select id from taskmill.tasks where state = 'available'")
            for row in rows:
                async with self.database.pool.acquire() as connection:
                    worker = new_id()
                    claim_no = await start(connection, row["id"], worker)
                    if claim_no is None:
                        continue
                    await self.look(connection, row["id"])
                state = rng.choice([State.COMPLETED, State.COMPLETED, State.DISCARDED])
                await end(self.database, row["id"], claim_no, worker, state)
            self.done = await self.database.pool.fetchval(DONE)

    async def look(self, connection: Connection, task_id: UUID) -> None:
        """It is the lowest of its sequence that is not finished, runs alone, and no failure before it stops it."""
        assert await connection.fetchval(BEFORE, task_id) == 0
        assert await connection.fetchval(RUNNING, task_id) == 1
        assert await connection.fetchval(STOPPED, task_id) == 0

    async def schedule(self) -> None:
        """Do what the releaser does."""
        while not self.over:
            await let_go(self.database)

    async def skip(self) -> None:
        """Let stopped sequences go on."""
        while not self.over:
            for _, task_id, _ in await sequences.stopped(self.database.pool, 10):
                async with self.database.transaction() as connection:
                    await control.skip(connection, task_id)

    async def run(self) -> None:
        """Let them all run to the end."""
        rngs = randoms(self.seed)
        beside = [asyncio.create_task(self.work(rng)) for rng in rngs[3:]]
        beside += [asyncio.create_task(work()) for work in (self.schedule, self.schedule, self.skip)]
        await asyncio.gather(*(self.submit(rng) for rng in rngs[:3]))
        self.submitting = False
        await asyncio.gather(*beside)


@pytest.mark.parametrize("seed", range(3))
async def test_the_one_that_runs_is_the_lowest_that_is_not_finished(database: Database, seed: int) -> None:
    crowd = Crowd(database, seed)
    async with asyncio.timeout(LIMIT_S):
        await crowd.run()
    rows = await database.pool.fetch("select state from taskmill.task_history")
    assert len(rows) == crowd.wanted == 45
    assert {row["state"] for row in rows} <= FINAL
    assert await database.pool.fetchval("select count(*) from taskmill.tasks") == 0
