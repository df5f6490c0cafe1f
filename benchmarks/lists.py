# ruff: noqa: INP001  单个脚本，不是包
"""Lists of tasks by every filter and each pair on a large database: `python -m benchmarks.lists`.

First each list is asked for alone, as the API asks PostgreSQL: its statement, on the first page and on a deep one. Then 32
connections ask one API process for all of them in turn, any page of each, as fast as they are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from urllib.parse import quote

import msgspec
import uvloop

from benchmarks.fill import arguments, fill, sizes_of
from benchmarks.http_load import CALLERS, Connection, connected
from benchmarks.stand import Role, Stand, bar, family_cpu_s, parent, percentiles, run
from taskmill import constants as c
from taskmill.services.tasks.service import TaskFilter
from taskmill.stores.database import Database
from taskmill.stores.tasks.lists import page as lists

STATEMENT_MS, LIST_MS = 50.0, 200.0
DEEP = c.TOTAL_EXACT_MAX // c.PAGE_SIZE_DEFAULT  # 最后一页
ALONE = 3
SAMPLES = """
select (select schedule_id::text from taskmill.task_history where schedule_id is not null limit 1) as schedule
"""


def filters(schedule: str, now: datetime) -> dict[str, list[dict[str, str]]]:
    """Return for each filter a wanted value that many rows have, one that few have, and more."""

    def ago(**span: float) -> str:
        return (now - timedelta(**span)).isoformat()

    return {
        "queue": [{"queue": "queue-000"}, {"queue": "queue-040"}, {"queue": "nobody"}],
        "kind": [{"kind": "shop.kind_000"}, {"kind": "shop.kind_055"}, {"kind": "nobody"}],
        "state": [{"state": state} for state in ("completed", "running", "available", "discarded", "scheduled", "blocked")],
        "tag": [{"tag": "eu"}, {"tag": "tag-7"}, {"tag": "nobody"}],
        "created": [{"created_after": ago(days=3)}, {"created_after": ago(days=3), "created_before": ago(days=3, hours=-1)}],
        "started": [{"started_after": ago(days=3)}, {"started_after": ago(hours=1)}],
        "finished": [{"finished_after": ago(days=3)}, {"finished_after": ago(hours=1)}],
        "schedule": [{"schedule_id": schedule}, {"schedule_id": "00000000-0000-0000-0000-000000000001"}],
    }


def shapes(schedule: str, now: datetime) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and parameters of each list: no filter, each value, each pair of filters with few and with many rows."""
    known = filters(schedule, now)
    yield "all", {}
    for name, values in known.items():
        for value in values:
            yield (
                f"{name}: {' '.join(value.values())}"
                if name in {"queue", "kind", "state", "tag"}
                else _spoken(name, value, values),
                value,
            )
    for first, second in combinations(known, 2):
        for size, place in (("many", 0), ("few", 1)):
            yield f"{first} + {second}, {size}", known[first][place] | known[second][place]


def _spoken(name: str, value: dict[str, str], values: list[dict[str, str]]) -> str:
    return f"{name}, {'few' if values.index(value) else 'many'}"


async def _alone(url: str, known: dict[str, dict[str, str]]) -> dict[str, float]:
    """每种列表的语句单独跑，连同规划。"""
    found = dict[str, float]()
    database = Database(url, orm_pool_size=1)
    await database.open()
    for name, parameters in known.items():
        wanted = msgspec.convert(parameters, TaskFilter, strict=False)
        took = list[float]()
        for offset in (0, (DEEP - 1) * c.PAGE_SIZE_DEFAULT):
            for _ in range(ALONE):
                async with lists.reading(database) as connection:
                    began = time.perf_counter()
                    await lists.fetch_page(connection, wanted.query(), limit=c.PAGE_SIZE_DEFAULT + 1, offset=offset)
                    took.append(1000 * (time.perf_counter() - began))
        # 每一页取三次里居中的，两页取慢的：一次被打断不算它的
        found[name] = max(statistics.median(took[:ALONE]), statistics.median(took[ALONE:]))
    await database.close()
    return found


async def _loaded(role: Role, key: str, known: dict[str, dict[str, str]], rounds: int) -> dict[str, Any]:
    head = f"Host: bench\r\nAuthorization: Bearer {key}\r\n\r\n"
    chance, took, answers = random.Random(3), defaultdict[str, list[float]](list), Counter[int]()  # noqa: S311 - 不是密码
    work = [name for name in known for _ in range(rounds)]
    chance.shuffle(work)
    left = iter(work)

    async def caller(connection: Connection) -> None:
        for name in left:
            words = known[name] | {"page": str(chance.choice([1, 2, 3, chance.randint(1, DEEP)]))}
            path = "/api/v1/tasks?" + "&".join(f"{word}={quote(value)}" for word, value in words.items())
            began = time.perf_counter()
            status, _ = await connection.ask(f"GET {path} HTTP/1.1\r\n{head}".encode())
            took[name].append(1000 * (time.perf_counter() - began))
            answers[status] += 1

    connections = await connected(role.port, CALLERS)
    cpu, began = role.cpu_s(), time.perf_counter()
    await asyncio.gather(*map(caller, connections))
    spent = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return {
        "took": took, "answers": dict(answers), "per_s": len(work) / spent, "cpu_ms": 1000 * (role.cpu_s() - cpu) / len(work),
    }  # fmt: skip


async def _sampled(url: str) -> tuple[str, int]:
    """一个用过的定时，与 PostgreSQL 主进程的号。"""
    database = Database(url)
    await database.open()
    async with database.pool.acquire() as connection:
        schedule: str = await connection.fetchval(SAMPLES)
        server = parent(connection.get_server_pid())
    await database.close()
    return schedule, server


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Fill, ask for each list alone, then for all under load."""
    sizes = sizes_of(options)
    filled = asyncio.run(fill(stand.database_url, sizes, sys.stderr.write))
    schedule, server = asyncio.run(_sampled(stand.database_url))
    known = dict(shapes(schedule, datetime.now(UTC)))
    alone = asyncio.run(_alone(stand.database_url, known))
    with stand.api() as role:
        uvloop.run(_loaded(role, stand.key, known, 1))
        cpu = family_cpu_s(server)
        loaded = uvloop.run(_loaded(role, stand.key, known, options.rounds))
        cpu_ms = 1000 * (family_cpu_s(server) - cpu) / (len(known) * options.rounds)
    took = loaded["took"]
    whole = percentiles([each for values in took.values() for each in values])
    slowest = max(alone, key=alone.__getitem__)
    late = max(took, key=lambda name: percentiles(took[name])["p95"])
    return {
        "subject": f"Lists on {sizes.live:,} live and {sizes.finished:,} finished tasks: {len(known)} shapes, {CALLERS} connections, any page",
        "bars": [
            bar(f"slowest statement alone ({slowest})", alone[slowest], STATEMENT_MS, "ms"),
            bar("all lists, p95", whole["p95"], LIST_MS, "ms"),
            bar(f"the list with the latest p95 ({late})", percentiles(took[late])["p95"], LIST_MS, "ms"),
            bar("answers other than 200", sum(n for status, n in loaded["answers"].items() if status != 200), 1, ""),  # noqa: PLR2004 - HTTP
        ],
        "seen": {
            "filled in, s": filled, "lists a second": round(loaded["per_s"]), "CPU of the API for each, ms": round(loaded["cpu_ms"], 2),
            "CPU of PostgreSQL for each, ms": round(cpu_ms, 2),
            "time of each if nobody else used the machine, by that, ms": round((loaded["cpu_ms"] + cpu_ms) * CALLERS / (os.cpu_count() or 1)),
            "all, ms": whole, "statements over the bar": sum(value >= STATEMENT_MS for value in alone.values()),
        },
        "shapes": {
            name: {"statement_ms": round(alone[name], 1), "p50_ms": percentiles(took[name])["median"], "p95_ms": percentiles(took[name])["p95"]}
            for name in known
        },
    }  # fmt: skip


def table(report: dict[str, Any]) -> str:
    """Return the shapes as a table, the slowest statement first."""
    lines = ["", "| list | statement alone, ms | p50, ms | p95, ms |", "|---|---:|---:|---:|"]
    ordered = sorted(report["shapes"].items(), key=lambda each: -each[1]["statement_ms"])
    return (
        "\n".join(
            [
                *lines,
                *(f"| {name} | {each['statement_ms']} | {each['p50_ms']} | {each['p95_ms']} |" for name, each in ordered),
            ]
        )
        + "\n"
    )


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lists", description=__doc__)
    arguments(parser)
    parser.add_argument("--rounds", type=int, default=40, help="how often each list is asked for under load")
    return run("lists", measure, parser, table)


if __name__ == "__main__":
    sys.exit(main())
