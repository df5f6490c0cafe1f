# /// script
# dependencies = ["procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "uvloop==0.23.0"]
# ///
"""Procrastinate, on PostgreSQL alone."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Awaitable, Callable

import contract
import uvloop
from procrastinate import App, PsycopgConnector

ABOUT = {
    "system": "Procrastinate",
    "store": "postgresql",
    "durable": "PostgreSQL",
    "tuned": "worker with uvloop in one process, up to 32 connections; statistics taken after the submit",
    "share": 0.1,
}
HELD = "select count(*) as held from procrastinate_jobs where status in ('todo', 'doing')"
app = App(
    connector=PsycopgConnector(conninfo=os.environ.get("PEER_DATABASE_URL", ""), min_size=4, max_size=contract.CALLERS)
)


@functools.cache
def tally() -> contract.Tally:
    """Return the tally of this process."""
    return contract.Tally()


@app.task(name="noop")
async def noop(to: str, n: int, subject: str) -> int:  # noqa: ARG001 - 与各家相同的参数
    """Mark the tally and do nothing else."""
    tally().mark(n)
    return 1


def args(number: int) -> dict[str, object]:
    """Return the args of one task."""
    return {"to": "user@example.com", "n": number, "subject": "hello world"}


async def held() -> int:
    """Return the jobs that are not done."""
    return (await app.connector.execute_query_one_async(HELD))["held"]


async def single(n: int) -> float:
    """Submit one at a time."""
    return await contract.from_coroutines(n, lambda i: noop.defer_async(**args(i)))


async def batch(n: int) -> float:
    """Submit 1,000 a call, two calls at a time."""
    starts = iter(range(0, n, contract.BATCH))

    async def caller() -> None:
        for start in starts:
            await noop.batch_defer_async(*(args(i) for i in range(start, min(n, start + contract.BATCH))))

    began = time.perf_counter()
    await asyncio.gather(caller(), caller())
    return time.perf_counter() - began


async def drain(n: int, concurrency: int) -> float:
    """Submit, then run a worker."""
    await batch(n)
    await app.connector.execute_query_async("analyze")
    began = time.perf_counter()
    worker = asyncio.create_task(app.run_worker_async(concurrency=concurrency, install_signal_handlers=False))
    while tally().count() < n or await held():  # noqa: ASYNC110 - 存储里的行没有事件可等
        await asyncio.sleep(contract.POLL_S)
    seconds = time.perf_counter() - began
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return seconds


def measure(work: Callable[..., Awaitable[float]]) -> contract.Measure:
    """Return `work` with an application and its schema around it."""

    async def whole(*numbers: int) -> tuple[float, int]:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            return await work(*numbers), await held()

    def run(n: int, concurrency: int) -> tuple[float, int]:
        logging.disable(logging.WARNING)
        return uvloop.run(whole(n, concurrency) if work is drain else whole(n))

    return run


if __name__ == "__main__":
    contract.answer(ABOUT, ["procrastinate", "psycopg"], {work.__name__: measure(work) for work in (single, batch, drain)})
