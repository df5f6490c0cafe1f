# ruff: noqa: INP001  单个脚本，不是包
"""Other systems beside Taskmill: the same servers, the same work, the same cores, in turn (`make bench/peers`).

Each turn of a system has new servers with the settings of `taskmill dev` (fsync on), and each measure an empty database and an
empty Valkey. Who begins a round goes round. A system that fails is named on the page; the others go on, and the end is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import redis

from benchmarks.peers.chart import chart
from benchmarks.peers.drivers import Driver, PeerError, built, names
from benchmarks.peers.page import page
from benchmarks.report import machine
from benchmarks.stand import publish
from taskmill.dev.servers import start_postgres, start_valkey

# 名字 → (契约里的名字, 任务数, --short 的任务数, 并发)；任务数都是 32 与 1,000 的倍数
MEASURES: dict[str, tuple[str, int, int, int]] = {
    "single": ("single", 32_000, 3_200, 32),
    "batch": ("batch", 96_000, 8_000, 32),
    "drain-10": ("drain", 32_000, 4_000, 10),
    "drain-1000": ("drain", 96_000, 8_000, 1_000),
}
STEP = 800  # share 之后仍是 32 的倍数
POSTGRES = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
VALKEY = ("appendonly", "appendfsync")


class Turn:
    """The servers of one turn."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._url = stack.enter_context(start_postgres(folder / "postgres")).url
        self.broker_url = stack.enter_context(start_valkey(folder / "valkey")).url
        self._number = 0

    def empty(self) -> str:
        """Empty both, write everything to disk, and return the URL of a new database."""
        return asyncio.run(self._empty())

    async def _empty(self) -> str:
        with redis.Redis.from_url(self.broker_url) as client:
            client.flushall()
        server = await asyncpg.connect(self._url)
        old, self._number = self._number, self._number + 1
        await server.execute(f"drop database if exists peer_{old} with (force)")
        await server.execute(f"create database peer_{self._number}")
        await server.execute("checkpoint")
        await server.close()
        return self._url.rpartition("/")[0] + f"/peer_{self._number}"

    async def settings(self) -> dict[str, str]:
        """Return the settings that durability and speed depend on, as the servers tell them."""
        server = await asyncpg.connect(self._url)
        found = {f"postgres {name}": await server.fetchval(f"show {name}") for name in POSTGRES}
        await server.close()
        with redis.Redis.from_url(self.broker_url) as client:
            found["valkey"] = client.info("server").get("valkey_version", "")
            return found | {f"valkey {name}": client.config_get(name)[name] for name in VALKEY}


def size(whole: int, share: float) -> int:
    """Return the number of tasks for a system that does a share of the work."""
    return max(STEP, round(whole * share / STEP) * STEP)


def turn(driver: Driver, about: dict[str, Any], options: argparse.Namespace, report: dict[str, Any]) -> None:
    """Run every measure of one system once and add what came out to the report."""
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-") as name, ExitStack() as stack:
        folder = Path(name).resolve()
        folder.chmod(0o755)  # PostgreSQL 以另一个用户运行
        servers = Turn(folder, stack)
        report["servers"] = asyncio.run(servers.settings())
        for measure in options.measures:
            kind, long, short, concurrency = MEASURES[measure]
            if kind not in about["measures"]:
                continue
            n = size(short if options.short else long, about["share"])
            where = {"folder": folder, "database_url": servers.empty(), "broker_url": servers.broker_url}
            try:
                seconds = driver.measure(kind, n, concurrency, **where)
            except PeerError as error:
                sys.stderr.write(f"{error}\n")
                report["errors"].append({"system": driver.name, "measure": measure, "error": str(error)})
            else:
                sys.stderr.write(f"{driver.name} {measure}: {n:,} in {seconds:.2f} s, {n / seconds:,.0f}/s\n")
                found = about["figures"].setdefault(measure, {"n": n, "seconds": []})
                found["seconds"].append(round(seconds, 4))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Build every driver, then run the rounds."""
    report: dict[str, Any] = {"runs": options.runs, "short": options.short, "systems": {}, "errors": []}
    drivers: list[Driver] = []
    for name in options.only:
        try:
            driver = built(name)
            report["systems"][name] = driver.about() | {"figures": {}}
        except PeerError as error:
            sys.stderr.write(f"{error}\n")
            report["errors"].append({"system": name, "measure": "build", "error": str(error)})
        else:
            drivers.append(driver)
    report["load_before"] = round(os.getloadavg()[0], 1)
    for number in range(options.runs if drivers else 0):
        first = number % len(drivers)
        for driver in drivers[first:] + drivers[:first]:
            turn(driver, report["systems"][driver.name], options, report)
    return report | {"load_after": round(os.getloadavg()[0], 1), "machine": machine()}


def summed(report: dict[str, Any]) -> dict[str, Any]:
    """Add the median of the runs to each figure, in tasks a second."""
    for system in report["systems"].values():
        for figure in system["figures"].values():
            rates = sorted(figure["n"] / seconds for seconds in figure["seconds"])
            figure["tasks_per_second"] = round(statistics.median(rates), 1)
            figure["least"], figure["most"] = round(rates[0], 1), round(rates[-1], 1)
    return report


def main() -> int:
    """Run the rounds, print what came out, write the page, the JSON and the chart."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.run", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=names(), default=names())
    parser.add_argument("--measures", nargs="*", choices=[*MEASURES], default=[*MEASURES])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--short", action="store_true", help="a tenth of the tasks: proves that it works, no figures to quote"
    )
    parser.add_argument("--from", dest="source", type=Path, help="make page and chart again from this JSON, measure nothing")
    parser.add_argument("--write", type=Path, help="write NAME.json, NAME.md and NAME.svg, e.g. benchmarks/results/peers")
    options = parser.parse_args()
    report = json.loads(options.source.read_text()) if options.source else summed(measured(options))
    publish(report, page(report, f"{options.write.name}.svg" if options.write else None), options.write)
    if options.write:
        options.write.with_suffix(".svg").write_text(chart(report))
    return int(bool(report["errors"]))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # 否则 finally 不跑，留下对手的进程
    sys.exit(main())
