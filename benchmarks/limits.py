# ruff: noqa: INP001  单个脚本，不是包
"""What limits cost and whether they hold: `python -m benchmarks.limits`.

Workers and the scheduler are processes of the command line. Who ran when is read from files that the handlers append to, not
from rows of Taskmill; a worker that was killed counts until its death.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.limits_kinds import FOLDER
from benchmarks.stand import Role, Stand, bar, run
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import load_settings

QUEUE, KIND, BATCH = "limits", "limits.journal", 1_000
PLUGIN = {"PLUGIN_MODULES": "benchmarks.limits_kinds", "PLUGINS_ALLOW": "limits"}
RATE, BURST, WINDOW_S, RATE_RUN_S = 500, 100, 10.0, 20.0
KILL_EVERY_S = 2.0
LEFT = "select count(*) from taskmill.tasks where queue = $1"
HELD = """
insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms, concurrency_key, slot)
select gen_random_uuid(), $1, $2, 'available', 2, '{"key": "x"}', 1000, 'key-' || n % $4, 0 from generate_series(1, $3) n
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """An attempt that really ran; `end` is when it ended, or its process did."""

    key: str
    begin: float
    end: float


def journal(folder: Path, died: dict[int, float]) -> list[Ran]:
    """Read who ran when, in the order of the starts."""
    begun: dict[tuple[str, str], tuple[str, int, float]] = {}
    runs: list[Ran] = []
    lines = (line.split() for path in folder.glob("*.log") for line in path.read_text().splitlines())
    for what, task_id, claim, key, pid, at in sorted(lines, key=lambda line: float(line[5])):
        if what == "start":
            begun[task_id, claim] = (key, int(pid), float(at))
        else:
            _, _, begin = begun.pop((task_id, claim))
            runs.append(Ran(key, begin, float(at)))
    runs += [Ran(key, begin, died.get(pid, float("inf"))) for key, pid, begin in begun.values()]
    return sorted(runs, key=lambda ran: ran.begin)


def together(runs: list[Ran]) -> int:
    """Return how often a task of a key began while another of it ran."""
    until: dict[str, float] = defaultdict(lambda: float("-inf"))
    found = 0
    for ran in runs:
        found += ran.begin < until[ran.key]
        until[ran.key] = max(until[ran.key], ran.end)
    return found


def fullest(runs: list[Ran], window_s: float) -> int:
    """Return the most starts in any window."""
    starts, first, most = [ran.begin for ran in runs], 0, 0
    for number, begin in enumerate(starts):
        while starts[first] < begin - window_s:
            first += 1
        most = max(most, number - first + 1)
    return most


class Bench:
    """A stand with a platform in this process, which submits and asks."""

    def __init__(self, stand: Stand, platform: Platform) -> None:
        self.stand, self.platform = stand, platform

    async def submit(self, count: int, keys: int) -> None:
        """Submit tasks of `keys` keys in turn."""
        for start in range(0, count, BATCH):
            names = [f"key-{number % keys}" for number in range(start, min(start + BATCH, count))]
            made = [SubmitRequest(kind=KIND, args={"key": name}, concurrency_key=name) for name in names]
            await self.platform.submit.submit_many(made)

    async def until_done(self, patience_s: float = 300.0) -> None:
        """Wait for the queue to be empty; RuntimeError if that does not come."""
        end = time.monotonic() + patience_s
        while await self.platform.database.pool.fetchval(LEFT, QUEUE):
            if time.monotonic() > end:
                message = f"not done after {patience_s} s"
                raise RuntimeError(message)
            await asyncio.sleep(0.1)

    @contextmanager
    def worker(self, folder: Path, concurrency: int) -> Iterator[Role]:
        """Start a worker that keeps its journal in `folder`."""
        folder.mkdir(exist_ok=True)
        os.environ[FOLDER] = str(folder)
        settings = {**PLUGIN, "LEASE_S": "6", "HEARTBEAT_S": "2"}
        words = ("worker", "--queue", QUEUE, "--concurrency", str(concurrency))
        with self.stand.role(*words, probe="WORKER_HEALTH_PORT", **settings) as role:
            yield role

    async def keys(self, tasks: int, keys: int) -> dict[str, Any]:
        """One at a time of each key: how fast, and whether ever two."""
        folder = self.stand.root / "keys"
        await self.platform.queues.put(QUEUE, QueuePolicyChange(max_running_per_key=1))
        await self.submit(tasks, keys)
        with self.worker(folder, 1_000):
            await self.until_done()
        runs = journal(folder, {})
        took = max(ran.end for ran in runs) - runs[0].begin
        return {"tasks": len(runs), "tasks/s": round(len(runs) / took), "together": together(runs)}

    async def kills(self, tasks: int, keys: int) -> dict[str, Any]:
        """The same with a worker that is killed every two seconds."""
        folder, died, kills = self.stand.root / "kills", dict[int, float](), 0
        await self.submit(tasks, keys)
        done = asyncio.create_task(self.until_done())
        while not done.done():
            with self.worker(folder, 100) as role:
                await asyncio.wait([done], timeout=KILL_EVERY_S)
                pid = role.pid
                role.process.kill()
                role.process.wait()
            died[pid] = time.monotonic()
            kills += 1
        await done
        runs = journal(folder, died)
        return {"tasks": tasks, "attempts": len(runs), "kills": kills, "together": together(runs)}

    async def rate(self) -> dict[str, Any]:
        """Starts in windows of ten seconds, with more waiting than may run."""
        folder = self.stand.root / "rate"
        change = QueuePolicyChange(max_running_per_key=None, rate=Rate(limit=RATE, period_s=1.0, burst=BURST))
        await self.platform.queues.put(QUEUE, change)
        await self.submit(int(RATE * RATE_RUN_S * 1.5), 1)
        with self.worker(folder, 1_000):
            await asyncio.sleep(RATE_RUN_S)
        runs = journal(folder, {})
        took = runs[-1].begin - runs[0].begin
        await self.platform.queues.put(QUEUE, QueuePolicyChange(rate=None))
        await self.platform.database.pool.execute("delete from taskmill.tasks where queue = $1", QUEUE)
        return {"starts": len(runs), "most in 10 s": fullest(runs, WINDOW_S), "used": round(len(runs) / (took * RATE), 3)}

    async def held(self, tasks: int, seconds: float, log: Path) -> dict[str, Any]:
        """Tasks that are held and stay so: what the scheduler costs, and its slowest statements."""
        await self.platform.queues.put(QUEUE, QueuePolicyChange(max_running=1, max_running_per_key=1))
        pool = self.platform.database.pool
        await pool.execute(HELD, QUEUE, KIND, tasks, 1_000)
        await pool.execute("insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms, slot) values"
                           " (gen_random_uuid(), $1, $2, 'available', 2, '{}', 1000, 2)", QUEUE, KIND)  # fmt: skip
        await pool.execute("analyze taskmill.tasks")
        await asyncio.sleep(seconds / 2)  # 先把票都发了、键都看过一遍
        slow, scheduler = _slow(log), self.scheduler
        cpu, began = scheduler.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        idle = 100 * (scheduler.cpu_s() - cpu) / (time.monotonic() - began)
        return {
            "held": tasks,
            "scheduler, % of a core": round(idle, 2),
            "statements over 50 ms": _slow(log) - slow,
        }

    async def all(self, options: argparse.Namespace) -> dict[str, Any]:
        """Run one after the other."""
        with self.stand.role("scheduler", probe="SCHEDULER_HEALTH_PORT", **PLUGIN) as self.scheduler:
            keys = await self.keys(options.tasks, options.keys)
            kills = await self.kills(options.tasks // 2, options.keys)
            rate = await self.rate()
            log = next((self.stand.root / "postgres").rglob("*.log"))
            held = await self.held(options.held, options.seconds, log)
        return {"keys": keys, "kills": kills, "rate": rate, "held": held}


def _slow(log: Path) -> int:
    return log.read_text().count("duration:")


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
        found = await Bench(stand, platform).all(options)
    finally:
        await platform.close()
    keys, kills, rate, held = (found[name] for name in ("keys", "kills", "rate", "held"))
    return {
        "subject": f"Limits: {options.keys:,} keys, {options.held:,} held tasks",
        "bars": [
            bar(f"time of a task, {options.keys:,} keys at one each", 1e6 / keys["tasks/s"], 250, "µs"),
            bar("two of one key at once", keys["together"], 1, ""),
            bar("two of one key at once, a worker killed every 2 s", kills["together"], 1, ""),
            bar(f"most starts in 10 s at {RATE}/s", rate["most in 10 s"], BURST + RATE * WINDOW_S + 1, ""),
            bar("of the rate not used", 100 * max(0.0, 1 - rate["used"]), 2, "%"),
            bar("idle scheduler, of a core", held["scheduler, % of a core"], 2, "%"),
            bar("statements over 50 ms", held["statements over 50 ms"], 1, ""),
        ],
        "seen": found,
    }  # fmt: skip


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Run the parts."""
    return asyncio.run(_measured(stand, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--held", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30, help="of holding that are looked at")
    return run("limits", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
