# ruff: noqa: INP001  单个脚本，不是包
"""What a bar is measured on: servers of its own (fsync on), roles as real processes, and what /proc says of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from taskmill.dev.servers import start_postgres, start_valkey
from taskmill.urls import parse_database_url
from tests.support.children import tied
from tests.support.command import TASKMILL, Command

START_S = 240.0
SAMPLE_S = 0.02


class Stand:
    """PostgreSQL and Valkey, migrated, and the roles that a bar starts beside them."""

    def __init__(self, root: Path, database_url: str, broker_url: str) -> None:
        parse_database_url(database_url)
        self.root, self.database_url, self.broker_url = root, database_url, broker_url
        self.key = ""

    def command(self, **settings: str) -> Command:
        """Return `taskmill` with these servers and more settings."""
        return Command(self.root, DATABASE_URL=self.database_url, BROKER_URL=self.broker_url, **settings)

    @contextmanager
    def role(self, *arguments: str, probe: str, descriptors: int | None = None, **settings: str) -> Iterator[Role]:
        """Start a role and wait until its probe port answers; `probe` is the setting of that port."""
        port = free_port()
        command = self.command(**{probe: str(port)}, BIND_HOST="127.0.0.1", **settings)
        # 上限在它启动时就要在：之后再改，它不知道
        limit = f"ulimit -n {descriptors}; " if descriptors else ""
        words = tied("/bin/sh", "-c", f'{limit}exec "$@"', "sh", TASKMILL, *arguments)
        with (self.root / f"{arguments[0]}.log").open("w") as log, ExitStack() as stack:
            process = subprocess.Popen(words, cwd=self.root, env=command.environment, stdout=log, stderr=log, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            role = Role(process, command, arguments[0], port)
            role.until_ready()
            yield role

    @contextmanager
    def api(self, *, descriptors: int | None = None, **settings: str) -> Iterator[Role]:
        """Start the API, with its probes on a port of their own."""
        port = free_port()
        with self.role("api", probe="API_HEALTH_PORT", descriptors=descriptors, API_PORT=str(port), **settings) as role:
            role.port = port
            yield role


class Role:
    """A role that runs: its process, its ports, its log."""

    def __init__(self, process: subprocess.Popen[str], command: Command, name: str, probe_port: int) -> None:
        self.process, self.name, self.probe_port, self.port = process, name, probe_port, 0
        self._command = command

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._command.told(self.name)

    def until_ready(self) -> None:
        """Wait for its probe."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{self.probe_port}/healthz", timeout=2).status == 200:  # noqa: PLR2004 - HTTP
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(self.log)

    def rss_mb(self) -> float:
        """Resident memory now."""
        return memory(self.pid, "VmRSS")

    def peak_mb(self) -> float:
        """The most resident memory since the start, or since `forget_peak`."""
        return memory(self.pid, "VmHWM")

    def forget_peak(self) -> None:
        """Let the peak begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_s(self) -> float:
        """CPU time so far."""
        return cpu_s(self.pid)

    def descriptors(self) -> int:
        """Open file descriptors."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())


def memory(pid: int, field: str) -> float:
    """Return a line of /proc/PID/status in MB."""
    found = re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parent(pid: int) -> int:
    """Return who started a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def family_cpu_s(pid: int) -> float:
    """Return the CPU time of a server that has a process for each connection: its own, that of its children, and of those that ended."""
    ticks = sum(int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15])
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # 刚刚结束
        if int(fields[1]) == pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def standing(root: Path) -> Iterator[Stand]:
    """Start the servers, migrate, make a key; all of it ends with the block."""
    with ExitStack() as stack:
        postgres = stack.enter_context(start_postgres(root / "postgres"))
        valkey = stack.enter_context(start_valkey(root / "valkey"))
        stand = Stand(root, postgres.url, valkey.url)
        stand.command().ok("migrate", "up")
        made = json.loads(stand.command().ok("key", "create", "bench", "-o", "json"))
        stand.key = made["secret"]
        yield stand


class Prober:
    """A process of its own that asks /healthz all the time, so that nobody's work here delays the clock."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.prober", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._process.stdout.readline()  # type: ignore[union-attr] # 它开始问了

    def end(self) -> dict[str, Any]:
        """Stop asking and return what was seen: count, failures, milliseconds, and how late its own clock was."""
        told, _ = self._process.communicate("\n")
        return json.loads(told)


def percentiles(values: list[float], digits: int = 1) -> dict[str, float]:
    """Return the usual places of a distribution."""
    if not values:
        return {}
    ordered = sorted(values)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in (("p95", 0.95), ("p99", 0.99))}
    found = {"median": statistics.median(ordered), **at, "max": ordered[-1]}
    return {name: round(value, digits) for name, value in found.items()}


def run(
    name: str,
    measure: Callable[[Stand, argparse.Namespace], dict[str, Any]],
    parser: argparse.ArgumentParser,
    table: Callable[[dict[str, Any]], str] = lambda _: "",
) -> int:
    """Measure on a new stand, print the report, write both forms if `--write` says where; 1 if a bar is missed.

    `table`: what the page says after the bars.
    """
    parser.add_argument("--write", type=Path, help=f"write NAME.json and NAME.md, e.g. benchmarks/results/{name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-") as folder:
        root = Path(folder).resolve()
        root.chmod(0o755)  # PostgreSQL 以另一个用户运行
        load = os.getloadavg()[0]
        with standing(root) as stand:
            report = measure(stand, options)
    report |= {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1), "machine": machine()}
    publish(report, page(report) + table(report), options.write)
    return int(any(not bar["held"] for bar in report["bars"]))


def bar(about: str, value: float, limit: float, unit: str) -> dict[str, Any]:
    """Return one bar: `value` must stay below `limit`."""
    return {"about": about, "value": round(value, 3), "limit": limit, "unit": unit, "held": value < limit}


def page(report: dict[str, Any]) -> str:
    """Return the bars as a table, and what else was seen."""
    about = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    lines = [
        f"{report['subject']} ({about}; shared and not quiet: load {report['load_before']} before, {report['load_after']} after)",
        "", "| bar | measured | below | |", "|---|---:|---:|---|",
    ]  # fmt: skip
    for each in report["bars"]:
        held = "held" if each["held"] else "**missed**"
        lines.append(f"| {each['about']} | {each['value']:,} {each['unit']} | {each['limit']:,} {each['unit']} | {held} |")
    seen = [f"- {key}: {_said(value)}" for key, value in report.get("seen", {}).items()]
    return "\n".join([*lines, *([""] if seen else []), *seen]) + "\n"


def _said(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def publish(report: dict[str, Any], text: str, where: Path | None) -> None:
    """Print, and write both forms."""
    raw = json.dumps(report, indent=2, ensure_ascii=False)
    sys.stdout.write(f"{raw}\n{text}")
    if where:
        where.with_suffix(".json").write_text(raw + "\n")
        where.with_suffix(".md").write_text(text)


def sampled(read: Callable[[], float], stop: asyncio.Event) -> asyncio.Task[float]:
    """Follow a value until `stop`; the task returns the most that was seen."""

    async def follow() -> float:
        most = read()
        while not stop.is_set():
            await asyncio.sleep(SAMPLE_S)
            most = max(most, read())
        return most

    return asyncio.create_task(follow())
