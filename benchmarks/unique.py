# ruff: noqa: INP001  单个脚本，不是包
"""What uniqueness costs a single submit, in one process: `python -m benchmarks.unique`.

The same number of submits, one by one from many callers: ordinary ones, unique ones with keys of their own, and 64 at a time with the same key. Each round does all three, so that the
ratios of a round say something on a crowded machine; CPU time is this process's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.stand import Stand, bar, run
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import load_settings

KIND, BAR_PER_S = "http.request", 8_000
Make = Callable[[int], SubmitRequest]


def _request(**options: Any) -> SubmitRequest:
    return SubmitRequest(kind=KIND, args={"url": "https://example.com"}, queue="unique", **options)


async def _submits(platform: Platform, tasks: int, callers: int, make: Make) -> dict[str, float]:
    numbers = iter(range(tasks))
    duplicates = 0

    async def caller() -> None:
        nonlocal duplicates
        for number in numbers:
            done = await platform.submit.submit(make(number))
            duplicates += done.duplicate

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    took = time.perf_counter() - began
    return {
        "per_s": round(tasks / took),
        "cpu_us": round((time.process_time() - cpu) / tasks * 1e6),
        "duplicates": duplicates,
    }


async def _round(platform: Platform, options: argparse.Namespace, number: int) -> dict[str, Any]:
    made: dict[str, Make] = {
        "ordinary": lambda _: _request(),
        "unique": lambda n: _request(unique_key=f"{number}-{n}"),
        "64 with one key": lambda n: _request(unique_key=f"same-{number}-{n // 64}"),
    }
    found = {name: await _submits(platform, options.tasks, options.callers, make) for name, make in made.items()}
    await platform.database.pool.execute("truncate taskmill.tasks")
    return found


async def _measured(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    settings = load_settings(database_url=stand.database_url, broker_url=stand.broker_url)
    platform = await Platform.open(settings, PluginHost.load(settings, env={}))
    try:
        await _round(platform, argparse.Namespace(tasks=1_000, callers=options.callers), -1)
        rounds = [await _round(platform, options, number) for number in range(options.rounds)]
    finally:
        await platform.close()
    ratio = statistics.median(each["ordinary"]["per_s"] / each["unique"]["per_s"] for each in rounds)
    best = max(each["unique"]["per_s"] for each in rounds)
    lost = sum(each["64 with one key"]["duplicates"] != options.tasks - -(-options.tasks // 64) for each in rounds)
    return {
        "subject": f"Unique submits, one by one from {options.callers} callers",
        "bars": [
            bar("time of a unique submit, to an ordinary one", ratio, 2.5, "×"),
            bar("time of a unique submit, the best round", 1e6 / best, 1e6 / BAR_PER_S, "µs"),
            bar("rounds with another number of duplicates than 63 of 64", lost, 1, ""),
        ],
        "seen": {"rounds": rounds},
    }  # fmt: skip


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Run the rounds."""
    return asyncio.run(_measured(stand, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unique", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_480, help="of each sort in a round")
    parser.add_argument("--callers", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    return run("unique", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
