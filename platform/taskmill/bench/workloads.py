"""The workloads: each returns plain figures of one run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from taskmill.bench.stage import QUEUE, request, worker
from taskmill.engine.worker import WorkerRole
from taskmill.services.platform import Platform

BATCH = 1_000
SUBMITTERS = 32
RATE = 500  # latency：每秒任务数
POLL_S = 0.01
WAITING_QUEUE = "bench-waiting"
COUNT_FINISHED = "select count(*) from taskmill.task_history where queue = $1"
LATENCY = """
select percentile_cont(array[0.5, 0.95, 0.99, 1.0]) within group (order by extract(epoch from started_at - run_at) * 1000)
from taskmill.task_history where queue = $1 and created_at >= to_timestamp($2)
"""


async def submit(platform: Platform, tasks: int) -> dict[str, float]:
    """Submit `tasks` in batches of 1,000, two at a time."""
    gate = asyncio.Semaphore(2)

    async def put(count: int) -> None:
        async with gate:
            await platform.submit.submit_many([request() for _ in range(count)])

    sizes = [BATCH] * (tasks // BATCH) + ([tasks % BATCH] if tasks % BATCH else [])
    began = time.perf_counter()
    await asyncio.gather(*(put(size) for size in sizes))
    return {"tasks_per_second": tasks / (time.perf_counter() - began)}


async def single(platform: Platform, tasks: int) -> dict[str, float]:
    """Submit `tasks` one by one from 32 concurrent callers in this process."""

    async def caller() -> None:
        for _ in range(tasks // SUBMITTERS):
            await platform.submit.submit(request())

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(SUBMITTERS)))
    return {"tasks_per_second": tasks // SUBMITTERS * SUBMITTERS / (time.perf_counter() - began)}


async def waiting(platform: Platform, tasks: int) -> None:
    """Put `tasks` into another queue that nobody serves, then let statistics see them."""
    for start in range(0, tasks, BATCH):
        requests = [msgspec.structs.replace(request(), queue=WAITING_QUEUE) for _ in range(min(BATCH, tasks - start))]
        await platform.submit.submit_many(requests)


@asynccontextmanager
async def _working(platform: Platform, concurrency: int) -> AsyncIterator[WorkerRole]:
    role, stop = worker(platform, concurrency), asyncio.Event()
    running = asyncio.create_task(role.run(stop))
    try:
        yield role
    finally:
        stop.set()
        await running


async def _settled(role: WorkerRole, goal: int) -> None:
    while role.settler.settled < goal:  # noqa: ASYNC110 - 测量时不在结算器里加事件
        await asyncio.sleep(POLL_S)


async def drain(platform: Platform, tasks: int, concurrency: int) -> dict[str, float]:
    """Submit `tasks`, then run one worker until every row is completed and committed."""
    before = await platform.database.pool.fetchval(COUNT_FINISHED, QUEUE)
    left = await platform.database.pool.fetchval("select count(*) from taskmill.tasks where queue = $1", QUEUE)
    await submit(platform, tasks)
    goal = tasks + left
    began, cpu = time.perf_counter(), time.process_time()
    async with _working(platform, concurrency) as role:
        await _settled(role, goal)
        spent, used = time.perf_counter() - began, time.process_time() - cpu
        statements = role.statements
    after = await platform.database.pool.fetchval(COUNT_FINISHED, QUEUE)
    if after - before != goal:
        message = f"{after - before} rows in history, {goal} expected"
        raise AssertionError(message)
    return {
        "tasks_per_second": goal / spent,
        "worker_cpu_us_per_task": used / goal * 1e6,
        "statements_per_100_tasks": statements / goal * 100,
    }


async def latency(platform: Platform, tasks: int, concurrency: int) -> dict[str, float]:
    """Submit `tasks` one by one at 500/s and measure run_at → started_at on PostgreSQL's clock, in milliseconds."""
    async with _working(platform, concurrency) as role:
        await role.ready.wait()
        await _settled(role, 1)  # 先跑完热身任务
        since = await platform.database.pool.fetchval("select extract(epoch from now())::float8")
        goal, pending = role.settler.settled + tasks, set[asyncio.Task[object]]()
        began = time.perf_counter()
        for number in range(tasks):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            pending.add(asyncio.create_task(platform.submit.submit(request())))
        await asyncio.gather(*pending)
        await _settled(role, goal)
    p50, p95, p99, worst = await platform.database.pool.fetchval(LATENCY, QUEUE, since)
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": worst}
