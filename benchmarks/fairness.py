# ruff: noqa: INP001  单个脚本，不是包
"""What turns of fairness keys cost and whether they hold: `python -m benchmarks.fairness`.

The worker and the scheduler are processes of the command line. Who started when is read from files that the handlers append
to. With and without keys the same tasks are drained in turn, so that the ratio of a pair says something on a crowded machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.limits import KIND, PLUGIN, QUEUE, Bench, Ran, _slow, journal
from benchmarks.stand import Stand, bar, run
from taskmill.constants import FAIRNESS_WINDOW
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import load_settings

BATCH, BIG, SMALL, CONCURRENCY = 1_000, "big", 10, 100
HELD = """
insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms, fairness_key, slot)
select gen_random_uuid(), $1, $2, 'available', 2, '{"key": "x"}', 1000, 'key-' || n % $4, 3 from generate_series(1, $3) n
"""


def between(runs: list[Ran], submitted: float) -> dict[str, int]:
    """Return how many tasks of the big key started after the others were there: until the first, and until the last of them."""
    later = [ran.key for ran in runs if ran.begin >= submitted]
    small = [number for number, key in enumerate(later) if key != BIG]
    return {
        "until the first": later[: small[0]].count(BIG),
        "until the last": later[: small[-1]].count(BIG),
        "small": len(small),
    }


class Fairness(Bench):
    """The parts of the benchmark."""

    async def fill(self, names: list[str], *, fair: bool) -> None:
        """Submit a task for each name, with or without it as its fairness key."""
        for start in range(0, len(names), BATCH):
            part = names[start : start + BATCH]
            keys = [{"fairness_key": name} if fair else {} for name in part]
            made = [SubmitRequest(kind=KIND, args={"key": name}, **key) for name, key in zip(part, keys, strict=True)]
            await self.platform.submit.submit_many(made)

    async def drain(self, tasks: int, keys: int, number: int, *, fair: bool) -> float:
        """Return tasks per second of a drain."""
        folder = self.stand.root / f"drain-{number}-{fair}"
        await self.fill([f"key-{number % keys}" for number in range(tasks)], fair=fair)
        with self.worker(folder, CONCURRENCY):
            await self.until_done()
        runs = journal(folder, {})
        return len(runs) / (max(ran.end for ran in runs) - runs[0].begin)

    async def late(self, tasks: int) -> dict[str, int]:
        """One key has many tasks when ten others come with ten each."""
        folder = self.stand.root / "late"
        await self.fill([BIG] * tasks, fair=True)
        with self.worker(folder, CONCURRENCY):
            await asyncio.sleep(0.5)  # 大的键在开始
            await self.fill([f"small-{n % SMALL}" for n in range(SMALL * SMALL)], fair=True)
            submitted = time.monotonic()
            await self.until_done()
        return between(journal(folder, {}), submitted)

    async def idle(self, tasks: int, seconds: float, log: Path) -> dict[str, Any]:
        """Tasks that wait for their turn while no worker is there: what the scheduler costs, and its slowest statements."""
        if tasks:
            await self.platform.database.pool.execute(HELD, QUEUE, KIND, tasks, 1_000)
        await self.platform.database.pool.execute("analyze taskmill.tasks")
        await asyncio.sleep(seconds / 2)
        slow, scheduler = _slow(log), self.scheduler
        cpu, began = scheduler.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        used = 100 * (scheduler.cpu_s() - cpu) / (time.monotonic() - began)
        return {"waiting": tasks, "scheduler, % of a core": round(used, 2), "statements over 50 ms": _slow(log) - slow}

    async def parts(self, options: argparse.Namespace) -> dict[str, Any]:
        """Run one after the other."""
        with self.stand.role("scheduler", probe="SCHEDULER_HEALTH_PORT", **PLUGIN) as self.scheduler:
            pairs: list[tuple[float, float]] = []
            for number in range(options.pairs):
                plain = await self.drain(options.tasks, options.keys, number, fair=False)
                pairs.append((plain, await self.drain(options.tasks, options.keys, number, fair=True)))
            late = await self.late(options.big)
            log = next((self.stand.root / "postgres").rglob("*.log"))
            empty = await self.idle(0, options.seconds, log)
            idle = {
                **await self.idle(options.held, options.seconds, log),
                "scheduler without tasks, %": empty["scheduler, % of a core"],
            }
        return {
            "pairs": [{"without keys/s": round(p), "with keys/s": round(f)} for p, f in pairs],
            "late": late,
            "idle": idle,
        }


async def _measured(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    admin = await asyncpg.connect(stand.database_url)
    await admin.execute("alter system set log_min_duration_statement = '50ms'")
    await admin.execute("select pg_reload_conf()")
    await admin.close()
    settings = load_settings(
        database_url=stand.database_url, broker_url=stand.broker_url,
        plugin_modules=["benchmarks.limits_kinds"], plugins_allow=["limits"],
    )  # fmt: skip
    platform = await Platform.open(settings, PluginHost.load(settings, env={}))
    try:
        found = await Fairness(stand, platform).parts(options)
    finally:
        await platform.close()
    ratio = statistics.median(pair["with keys/s"] / pair["without keys/s"] for pair in found["pairs"])
    late, idle = found["late"], found["idle"]
    return {
        "subject": f"Fairness: {options.keys:,} keys, one key with {options.big:,} tasks, {options.held:,} waiting tasks",
        "bars": [
            bar("time of a task with a key, to one without", 1 / ratio, 1.5, "×"),
            bar("starts of the big key before the first of the others", late["until the first"], FAIRNESS_WINDOW + CONCURRENCY + 1, ""),
            bar("starts of the big key before the last of the others", late["until the last"], FAIRNESS_WINDOW + CONCURRENCY + SMALL + 1, ""),
            bar("idle scheduler, of a core", idle["scheduler, % of a core"], 2, "%"),
            bar("statements over 50 ms", idle["statements over 50 ms"], 1, ""),
        ],
        "seen": found,
    }  # fmt: skip


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Run the parts."""
    return asyncio.run(_measured(stand, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="of a drain")
    parser.add_argument("--pairs", type=int, default=3, help="of drains, without and with keys")
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--big", type=int, default=20_000, help="tasks of the big key")
    parser.add_argument("--held", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30, help="of waiting that are looked at")
    return run("fairness", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
