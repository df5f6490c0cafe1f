# ruff: noqa: INP001  单个脚本，不是包
"""What a scheduler costs that has nothing to do: `python -m benchmarks.idle`.

The same process on an empty database and on one with tasks that are held: its CPU time by /proc, then what it asked PostgreSQL, by the log.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.stand import Role, Stand, bar, run
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.settings import load_settings

QUEUE, KIND, KEYS, BATCH, SLOW_MS = "idle", "idle.held", 1_000, 5_000, 50.0
HELD = """
insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms, concurrency_key, slot)
select gen_random_uuid(), $1, $2, 'available', 2, '{"key": "x"}', 1000, 'key-' || n % $4, 0 from generate_series(1, $3) n
"""
TAKEN = """
insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms, slot)
values (gen_random_uuid(), $1, $2, 'available', 2, '{}', 1000, 2)
"""
# 一条语句在日志里从这里开始，到下一个带时刻的行为止
STATEMENT = re.compile(r"duration: ([\d.]+) ms  (?:execute \S+|statement): (.*?)(?=\n\d{4}-\d\d-\d\d |\Z)", re.DOTALL)


async def _admin(stand: Stand, *statements: str) -> None:
    admin = await asyncpg.connect(stand.database_url)
    for each in (*statements, "select pg_reload_conf()"):
        await admin.execute(each)
    await admin.close()


async def _cpu(role: Role, seconds: float) -> float:
    cpu, began = role.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (role.cpu_s() - cpu) / (time.monotonic() - began)


def _told(log: Path) -> str:
    return log.read_text()


async def _asked(stand: Stand, log: Path, seconds: float) -> tuple[dict[str, float], int]:
    """What is asked per second, by how it begins; and how many took over 50 ms."""
    began = len(_told(log))
    await _admin(stand, "alter system set log_min_duration_statement = 0")
    await asyncio.sleep(seconds)
    await _admin(stand, "alter system reset log_min_duration_statement")
    found = STATEMENT.findall(_told(log)[began:])
    counts = Counter(" ".join(text.split())[:100] for _, text in found)
    slow = sum(float(ms) > SLOW_MS for ms, _ in found)
    return {text: round(count / seconds, 1) for text, count in counts.most_common() if count > 1}, slow


async def _seen(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    log = next((stand.root / "postgres").rglob("*.log"))
    with stand.role("scheduler", probe="SCHEDULER_HEALTH_PORT") as scheduler:
        await asyncio.sleep(options.settle)
        cpu = await _cpu(scheduler, options.seconds)
        asked, slow = await _asked(stand, log, options.log_seconds)
    return {
        "% of a core": round(cpu, 2),
        "statements/s": round(sum(asked.values()), 1),
        "over 50 ms": slow,
        "asked/s": asked,
    }


async def _hold(stand: Stand, tasks: int) -> None:
    settings = load_settings(database_url=stand.database_url, broker_url=stand.broker_url)
    platform = await Platform.open(settings, PluginHost.load(settings, env={}))
    try:
        await platform.queues.put(QUEUE, QueuePolicyChange(max_running=1, max_running_per_key=1))
        for _ in range(0, tasks, BATCH):
            await platform.database.pool.execute(HELD, QUEUE, KIND, BATCH, KEYS)
        await platform.database.pool.execute(TAKEN, QUEUE, KIND)
        await platform.database.pool.execute("analyze taskmill.tasks")
    finally:
        await platform.close()


async def _measured(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    empty = await _seen(stand, options)
    await _hold(stand, options.held)
    held = await _seen(stand, options)
    return {
        "subject": f"An idle scheduler: no tasks, and {options.held:,} held tasks",
        "bars": [
            bar("CPU without tasks, of a core", empty["% of a core"], 2, "%"),
            bar("CPU with held tasks, of a core", held["% of a core"], 2, "%"),
            bar("statements over 50 ms", empty["over 50 ms"] + held["over 50 ms"], 1, ""),
        ],
        "seen": {
            "statements/s": {"empty": empty["statements/s"], "held": held["statements/s"]},
            **{f"empty, {text}": rate for text, rate in empty["asked/s"].items()},
            **{f"held, {text}": rate for text, rate in held["asked/s"].items()},
        },
    }


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Look at both."""
    return asyncio.run(_measured(stand, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--held", type=int, default=100_000)
    parser.add_argument("--settle", type=float, default=15, help="seconds before the first look")
    parser.add_argument("--seconds", type=float, default=60, help="of CPU time that are looked at")
    parser.add_argument("--log-seconds", type=float, default=10, help="of statements that are counted")
    return run("idle", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
