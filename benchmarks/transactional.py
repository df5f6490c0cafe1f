# ruff: noqa: INP001  单个脚本，不是包
"""Submits in an application's transaction: how soon after the commit they run, and how late a result is known: `python -m benchmarks.transactional`.

Worker and scheduler are processes of the command line. A task's start and end are read from a file that its handler appends to; the
commit counts from the moment before it is sent. Both are CLOCK_MONOTONIC of one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks.limits_kinds import FOLDER
from benchmarks.stand import Stand, bar, percentiles, run
from taskmill import Order, Taskmill, TaskRequest
from tests.support.waiting import eventually

KIND, QUEUE, UNSERVED = "limits.journal", "limits", "unserved"
PLUGIN = {"PLUGIN_MODULES": "benchmarks.limits_kinds", "PLUGINS_ALLOW": "limits"}
CONNECTIONS = 20
TICKETS = 300
HANDLES = (1, 100, 1_000)
PATIENCE_S = 300.0
TICKETED = "select count(*) = 0 from taskmill.tasks where queue = $1 and ticket_at is null"
# PostgreSQL 的钟两次：提交前的此刻，与送票的那一刻
LATE = "select 1000 * extract(epoch from t.ticket_at - c.at)::float8 as ms from taskmill.tasks t join public.commits c on c.id = t.id"


def journal(folder: Path, what: str) -> dict[UUID, float]:
    """Return when each task began (`start`) or ended (`end`)."""
    lines = (line.split() for path in folder.glob("*.log") for line in path.read_text().splitlines())
    return {UUID(task_id): float(at) for sort, task_id, _claim, _key, _pid, at in lines if sort == what}


class Bench:
    """A door, a pool of the application's connections, and the journal of the worker."""

    def __init__(self, tm: Taskmill, pool: asyncpg.Pool, folder: Path) -> None:
        self.tm, self.pool, self.folder = tm, pool, folder

    async def order(self, queue: str = QUEUE) -> tuple[UUID, float]:
        """Write a row and a task in one transaction; returns the id and the moment before the commit."""
        async with self.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("insert into public.orders (text) values ('an order')")
            made = await self.tm.submit(KIND, {"key": "k"}, connection=connection, queue=queue)
            await connection.execute("insert into public.commits (id, at) values ($1, clock_timestamp())", made.id)
            at = time.monotonic()
            await transaction.commit()
        return made.id, at

    async def paced(self, rate: float, seconds: float) -> dict[str, float]:
        """Commit at a rate and return how many milliseconds later the tasks ran."""
        began, orders = time.monotonic(), list[asyncio.Task[tuple[UUID, float]]]()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            orders.append(asyncio.create_task(self.order()))
        commits = dict(await asyncio.gather(*orders))
        await self.ended(set(commits))
        starts = journal(self.folder, "start")
        return percentiles([1000 * (starts[task_id] - at) for task_id, at in commits.items()])

    async def ended(self, ids: set[UUID]) -> None:
        """Wait until all of these have ended."""
        await eventually(lambda: not ids - journal(self.folder, "end").keys(), timeout=PATIENCE_S, poll=0.1, why="all ended")

    async def tickets(self) -> dict[str, float]:
        """Return how many milliseconds after the commit the ticket was sent, of tasks that nobody takes."""
        for _ in range(TICKETS):
            await self.order(UNSERVED)
            await asyncio.sleep(0.013)
        await eventually(
            lambda: self.pool.fetchval(TICKETED, UNSERVED), timeout=PATIENCE_S, poll=0.1, why="all have tickets"
        )
        return percentiles([row["ms"] for row in await self.pool.fetch(f"{LATE} where t.queue = $1", UNSERVED)])

    async def handles(self, count: int) -> dict[str, float]:
        """Let so many wait at once for tasks of about a second; return by how much later than the end they knew it, and by how many statements."""
        asked = TaskRequest[Any](KIND, {"key": "k", "sleep_s": 1.0})
        orders = [each async for each in self.tm.submit_many([asked] * count)]
        looks, began = self.tm.entrance.ends.looks, time.monotonic()

        async def known(order: Order[Any]) -> tuple[UUID, float]:
            await order.result()
            return order.id, time.monotonic()

        found = dict(await asyncio.gather(*map(known, orders)))
        took, looks = time.monotonic() - began, self.tm.entrance.ends.looks - looks
        await self.ended(set(found))
        ends = journal(self.folder, "end")
        return {
            **percentiles([1000 * (at - ends[task_id]) for task_id, at in found.items()]),
            "looks/s": round(looks / took, 1),
        }

    @asynccontextmanager
    async def open_transaction(self) -> AsyncIterator[None]:
        """Hold a transaction open that submitted to the same queue, with a key."""
        connection = await asyncpg.connect(os.environ["BENCH_DATABASE"])
        transaction = connection.transaction()
        await transaction.start()
        await self.tm.submit(KIND, {"key": "k"}, connection=connection, unique_key="held", queue=QUEUE)
        yield
        await transaction.rollback()
        await connection.close()


async def _measured(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    folder = stand.root / "journal"
    folder.mkdir()
    os.environ |= {"PYTHONPATH": str(Path(__file__).parents[1]), FOLDER: str(folder), "BENCH_DATABASE": stand.database_url}
    words = ("worker", "--queue", QUEUE, "--concurrency", "1000")
    with (
        stand.role("scheduler", probe="SCHEDULER_HEALTH_PORT", **PLUGIN),
        stand.role(*words, probe="WORKER_HEALTH_PORT", **PLUGIN),
    ):
        async with (
            asyncpg.create_pool(stand.database_url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
            Taskmill(database_url=stand.database_url, broker_url=stand.broker_url) as tm,
        ):
            await pool.execute("create table public.orders (id bigint generated always as identity primary key, text text)")
            await pool.execute("create table public.commits (id uuid primary key, at timestamptz not null)")
            bench = Bench(tm, pool, folder)
            await bench.paced(options.rate, 3)  # 热身：连接、计划、队列的流
            running = await bench.paced(options.rate, options.seconds)
            async with bench.open_transaction():
                beside = await bench.paced(options.rate, options.open)
            tickets = await bench.tickets()
            handles = {f"{count} handles": await bench.handles(count) for count in HANDLES}
    return {
        "subject": f"Submits in an application's transaction: {options.rate:g}/s for {options.seconds:g} s by {CONNECTIONS} connections of asyncpg",
        "bars": [
            bar("commit to running, p99", running["p99"], 400, "ms"),
            bar(f"the same beside a transaction that is open for {options.open:g} s, p99", beside["p99"], 400, "ms"),
            bar("commit to ticket, p99", tickets["p99"], 250, "ms"),
        ],
        "seen": {"commit to running": running, "beside an open one": beside, "commit to ticket": tickets, **handles},
    }


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Run the parts."""
    return asyncio.run(_measured(stand, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transactional", description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--open", type=float, default=60, help="seconds beside an open transaction")
    return run("transactional", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
