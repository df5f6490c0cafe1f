# ruff: noqa: INP001  单个脚本，不是包
"""12,000 queues with rows in three lanes each: `python -m benchmarks.many_queues`.

The rows are put in by SQL, without tickets, as after a loss of Valkey. How late a delayed task becomes available is read on
PostgreSQL's clock: `updated_at - run_at` of rows that a statement made due in one second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import urllib.request
from typing import Any

import asyncpg
from redis.asyncio import Redis

from benchmarks.stand import Role, Stand, bar, run
from taskmill import constants as c

FILL = """
with q as (insert into taskmill.queues (name) select 'many-' || n from generate_series(1, $1) n returning name)
insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms)
select gen_random_uuid(), name, 'bench.any', 'available', p, '{}', 1000 from q cross join generate_series(1, 3) p
"""
DELAYED = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, run_at)
values (gen_random_uuid(), 'many-' || $1, 'bench.late', 'scheduled', '{}', 1000, now() + interval '1 second')
"""
LATE = """
select coalesce(max(extract(epoch from case when state = 'available' then updated_at else clock_timestamp() end - run_at)), 0)::float8,
       count(*) filter (where state = 'scheduled'), count(*)
from taskmill.tasks where kind = 'bench.late'
"""
EVERY_S = 0.5
PATIENCE_S = 30.0


async def _delayed(connection: Any, seconds: float) -> dict[str, Any]:
    """每半秒一个推迟一秒的任务；都到了之后，最晚的一个晚了多久。"""
    await connection.execute("delete from taskmill.tasks where kind = 'bench.late'")
    count = int(seconds / EVERY_S)
    for number in range(1, count + 1):
        await connection.execute(DELAYED, str(number))
        await asyncio.sleep(EVERY_S)
    end = time.monotonic() + PATIENCE_S
    while True:
        late, left, made = await connection.fetchrow(LATE)
        if not left or time.monotonic() > end:
            return {"tasks": made, "latest, s": round(late, 3), "never": left}
        await asyncio.sleep(0.2)


async def _idle(role: Role, seconds: float) -> float:
    """闲着时占一个核的百分之几。"""
    cpu, began = role.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (role.cpu_s() - cpu) / (time.monotonic() - began)


async def _fed(connection: Any) -> float:
    """等所有行都有了票。"""
    began = time.monotonic()
    while await connection.fetchval(  # noqa: ASYNC110 - 等的是另一个进程
        "select exists (select from taskmill.tasks where state = 'available' and ticket_at is null)"
    ):
        await asyncio.sleep(0.2)
    return round(time.monotonic() - began, 1)


async def _measured(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    connection = await asyncpg.connect(stand.database_url)
    await connection.execute(FILL, options.queues)
    await connection.execute("analyze taskmill.tasks; analyze taskmill.queues")
    seen: dict[str, Any] = {}
    late: list[float] = []
    for label in ("first start", "restart"):
        with stand.role("scheduler", probe="SCHEDULER_HEALTH_PORT") as scheduler:
            found = await _delayed(connection, options.seconds / 2)
            seen[f"delayed tasks, {label}"] = found
            late.append(found["latest, s"])
            seen[f"until all lanes had tickets, {label}, s"] = await _fed(connection)
            if label == "restart":
                await asyncio.sleep(5)
                idle = await _idle(scheduler, options.seconds)
                worker_idle = await _worker(stand, options)
                metrics, took = await asyncio.to_thread(_metrics, stand)
            seen[f"RSS of the scheduler, {label}, MB"] = round(scheduler.rss_mb())
    await connection.close()
    seen["/metrics answered in, s"] = took
    return {
        "subject": f"{options.queues:,} queues, {3 * options.queues:,} lanes with a row each",
        "bars": [
            bar("a delayed task is late by, first start with nothing in Valkey", late[0], 1.5, "s"),
            bar("a delayed task is late by, restart", late[1], 1.5, "s"),
            bar("idle scheduler, of a core", idle, 10, "%"),
            bar("idle worker of all queues, of a core", worker_idle, 10, "%"),
            bar("/metrics", metrics / 1000, 200, "KB"),
        ],
        "seen": seen,
    }  # fmt: skip


async def _worker(stand: Stand, options: argparse.Namespace) -> float:
    """它服务所有队列，却没有可跑的：行与票都先删掉，等流重建好。"""
    names = ",".join(f"many-{number}" for number in range(1, options.queues + 1))
    connection = await asyncpg.connect(stand.database_url)
    await connection.execute("delete from taskmill.tasks")
    await connection.close()
    async with Redis.from_url(stand.broker_url) as valkey:
        await valkey.flushdb()
        while await valkey.dbsize() < (1 + len(c.PRIORITIES)) * options.queues:  # noqa: ASYNC110 - 等的是另一个进程
            await asyncio.sleep(0.2)
    with stand.role("worker", probe="WORKER_HEALTH_PORT", QUEUES=names) as worker:
        await asyncio.sleep(5)
        return await _idle(worker, options.seconds)


def _metrics(stand: Stand) -> tuple[int, float]:
    with stand.api(METRICS_PUBLIC="1") as api:
        began = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{api.port}/metrics", timeout=60) as answer:
            return len(answer.read()), round(time.perf_counter() - began, 2)


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Run the roles one after the other."""
    return asyncio.run(_measured(stand, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_queues", description=__doc__)
    parser.add_argument("--queues", type=int, default=12_000)
    parser.add_argument("--seconds", type=float, default=30, help="of idling that are looked at")
    return run("many-queues", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
