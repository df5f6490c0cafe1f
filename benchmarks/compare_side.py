# ruff: noqa: INP001  单个脚本，不是包
"""One side of `benchmarks.compare`, run by path with the interpreter of its checkout, so it imports `taskmill` alone.

Says first where its servers are, then answers each line `WORKLOAD TASKS CONCURRENCY` with the figures of one run as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from taskmill.bench import stage, workloads
from taskmill.log import configure_logging
from taskmill.settings import load_settings


async def once(platform: Any, name: str, tasks: int, concurrency: int) -> dict[str, float]:
    """Run one workload; adds this process's CPU time per task."""
    if name == "latency":
        await platform.submit.submit_many([stage.request()])  # 它要先跑完一个热身任务
    cpu = time.process_time()
    if name in {"submit", "single"}:
        figures = await getattr(workloads, name)(platform, tasks)
    else:
        figures = await getattr(workloads, name)(platform, tasks, concurrency)
    if name in {"submit", "latency", "single"}:
        figures["cpu_us_per_task"] = (time.process_time() - cpu) / tasks * 1e6
    return figures


async def main() -> None:
    """Serve orders until the input ends."""
    configure_logging(level="WARNING")
    with stage.servers(load_settings()) as (database_url, broker_url):
        async with stage.stage(database_url, broker_url, 1000) as platform:
            _say({"database_url": database_url, "broker_url": broker_url})
            while order := await asyncio.to_thread(sys.stdin.readline):
                name, tasks, concurrency = order.split()
                _say(await once(platform, name, int(tasks), int(concurrency)))


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
