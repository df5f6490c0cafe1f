# ruff: noqa: INP001  单个脚本，不是包
"""A burst after a quiet time: `python -m benchmarks.burst`.

A worker has only ever seen three tasks at a time, statistics with it; then many come at once. The same burst comes before
that, when plans are those of a full table: each pair is one ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

import uvloop

from benchmarks.stand import Stand, bar, run
from taskmill.bench import stage, workloads
from taskmill.services.platform import Platform

FULL, FEW, TIMES, CONCURRENCY = 200, 3, 10, 1_000


class Burst:
    """One platform and one worker that stays up."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def drained(self, tasks: int, size: int) -> float:
        """Submit in batches of `size` and return how long it took until all are completed and committed, in seconds."""
        began = time.perf_counter()
        for start in range(0, tasks, size):
            await self._platform.submit.submit_many([stage.request() for _ in range(min(size, tasks - start))])
            if size < workloads.BATCH:
                await self._empty()
        await self._empty()
        return time.perf_counter() - began

    async def quieten(self) -> None:
        """Have statistics collected while next to nothing is there or ever was, and plans made with them."""
        await self._platform.database.pool.execute("truncate taskmill.tasks")  # 索引也要小：涨过的索引，规划器自己就避开
        for _ in range(2):
            await self._platform.database.pool.execute("vacuum analyze taskmill.tasks")
            await self.drained(FEW * TIMES, FEW)

    async def _empty(self) -> None:
        while await self._platform.database.pool.fetchval("select exists (select from taskmill.tasks)"):  # noqa: ASYNC110 - 测量
            await asyncio.sleep(workloads.POLL_S)


async def _measured(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    pairs = list[dict[str, float]]()
    async with stage.stage(stand.database_url, stand.broker_url, CONCURRENCY) as platform:
        burst, worker, stop = Burst(platform), stage.worker(platform, CONCURRENCY), asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        await worker.ready.wait()
        for _ in range(options.pairs):
            await burst.drained(FULL * TIMES, FULL)
            full = await burst.drained(options.tasks, workloads.BATCH)
            await burst.quieten()
            quiet = await burst.drained(options.tasks, workloads.BATCH)
            pairs.append(
                {"plans of a full table": round(options.tasks / full), "after a quiet time": round(options.tasks / quiet)}
            )
        stop.set()
        await running
    ratio = max(pair["plans of a full table"] / pair["after a quiet time"] for pair in pairs)
    return {
        "subject": f"A burst of {options.tasks:,} tasks, submitted and drained by one process",
        "bars": [bar("time after a quiet time, to that with plans of a full table, the worst pair", ratio, 1.2, "×")],
        "seen": {"tasks/s": pairs},
    }


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Run the pairs."""
    return uvloop.run(_measured(stand, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.burst", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    return run("burst", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
