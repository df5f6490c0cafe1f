# ruff: noqa: INP001  单个脚本，不是包
"""Two checkouts side by side: `python -m benchmarks.compare OLD NEW` (folders with a .venv each, from `make env`).

Both keep their servers and run the same short workloads in turn, so that the ratio new/old of a pair cancels what the machine
did meanwhile. CPU time per task cancels most of what other people on it do; judge by that where the wall clock scatters.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from benchmarks.stand import cpu_s, free_port, publish
from tests.support.children import tied

# 名字 → (负载, 任务数, 并发)
WORKLOADS: dict[str, tuple[str, int, int]] = {
    "latency": ("latency", 1_000, 100),  # 在前：submit 与 single 留下没有人跑的任务
    "drain-10": ("drain", 3_000, 10),
    "drain-1000": ("drain", 10_000, 1_000),
    "submit": ("submit", 20_000, 0),
    "single": ("single", 6_400, 0),
    "post": ("post", 3_000, 32),
}
MORE_IS_BETTER = frozenset({"tasks_per_second", "requests_per_second"})  # 其余越小越好
LEFT_OUT = frozenset({"statements_per_100_tasks", "p99_ms", "max_ms"})
BODY = b'{"kind":"bench.noop","args":{"to":"user@example.com","n":1,"subject":"hello world"}}'


class Side:
    """One checkout: a process for the workloads with its own servers, and its API on the same servers."""

    def __init__(self, checkout: Path, root: Path) -> None:
        self.checkout, self.root = checkout, root
        self._api_port, self._api_pid, self._key = 0, 0, ""

    @contextmanager
    def started(self) -> Iterator[None]:
        """Start both, end both."""
        self.root.mkdir()
        script = Path(__file__).with_name("compare_side.py")
        command = tied(self.checkout / ".venv/bin/python", "-I", script)
        environment = {name: text for name, text in os.environ.items() if not name.startswith("TASKMILL_")}
        with ExitStack() as stack:
            self._process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(self._process.wait)
            stack.callback(self._process.stdin.close)  # type: ignore[union-attr]
            where = self._heard()
            port = free_port()
            more = {"TASKMILL_DATABASE_URL": where["database_url"], "TASKMILL_BROKER_URL": where["broker_url"]}
            more |= {"TASKMILL_API_PORT": str(port), "TASKMILL_ALLOW_UNKNOWN_KINDS": "1"}
            api = self._api(stack, environment | more)
            self._api_port, self._api_pid = port, api.pid
            yield

    def _api(self, stack: ExitStack, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        taskmill = self.checkout / ".venv/bin/taskmill"
        command = [taskmill, "key", "create", "bench", "-o", "json"]
        made = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, check=True)
        self._key = json.loads(made.stdout)["secret"]
        log = stack.enter_context((self.root / "api.log").open("w"))
        api = subprocess.Popen(tied(taskmill, "api"), cwd=self.root, env=environment, stdout=log, stderr=log)
        stack.callback(api.wait)
        stack.callback(api.kill)
        return api

    def _heard(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"{self.checkout}: no answer")
        return json.loads(line)

    def run(self, workload: str, tasks: int, concurrency: int) -> dict[str, float]:
        """Run one workload once."""
        if workload == "post":
            return asyncio.run(self._post(tasks, concurrency))
        self._process.stdin.write(f"{workload} {tasks} {concurrency}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return {name: value for name, value in self._heard().items() if name not in LEFT_OUT}

    async def _post(self, count: int, connections: int) -> dict[str, float]:
        request = (
            f"POST /api/v1/tasks HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY
        await _listening(self._api_port)
        began, cpu = time.perf_counter(), cpu_s(self._api_pid)
        took = await _shoot(self._api_port, request, count, connections)
        spent = time.perf_counter() - began
        return {
            "requests_per_second": count / spent,
            "api_cpu_us_per_request": (cpu_s(self._api_pid) - cpu) / count * 1e6,
            "p50_ms": statistics.median(took) * 1000,
            "p95_ms": statistics.quantiles(took, n=20)[-1] * 1000,
        }


async def _shoot(port: int, request: bytes, count: int, connections: int) -> list[float]:
    left, took = iter(range(count)), list[float]()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(head)
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return took


async def _listening(port: int) -> None:
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise TimeoutError


def compared(runs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, Any]:
    """Return medians of both sides and the ratios new/old of the pairs, per figure."""
    return {
        name: {
            "old": round(statistics.median(old[name] for old, _ in runs), 1),
            "new": round(statistics.median(new[name] for _, new in runs), 1),
            "ratio": round(statistics.median(new[name] / old[name] for old, new in runs), 3),
            "ratios": sorted(round(new[name] / old[name], 3) for old, new in runs),
            "better": "more" if name in MORE_IS_BETTER else "less",
        }
        for name in runs[0][0]
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = [
        f"{report['old']} (old) against {report['new']} (new), {report['pairs']} pairs in turn, "
        + ", ".join(f"{key} {value}" for key, value in report["machine"].items())
        + f"; shared and not quiet: load {report['load_before']} before, {report['load_after']} after",
        "",
        "| workload | figure | old | new | new/old, median of the pairs | middle half of the pairs | better is |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for workload, figures in report["workloads"].items():
        for name, found in figures.items():
            ratios = found["ratios"]
            spread = f"{ratios[len(ratios) // 4]}–{ratios[-1 - len(ratios) // 4]}"
            cells = (workload, name, f"{found['old']:,}", f"{found['new']:,}", found["ratio"], spread, found["better"])
            lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _commit(checkout: Path) -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


def measured(old: Side, new: Side, options: argparse.Namespace) -> dict[str, Any]:
    """Run every workload in pairs; the first pair is a rehearsal and is left out."""
    found: dict[str, Any] = {}
    for name in options.only:
        runs: list[tuple[dict[str, float], dict[str, float]]] = []
        for number in range(options.pairs + 1):
            sides = (old, new) if number % 2 == 0 else (new, old)  # 谁先跑也轮流
            seen = {side: side.run(*WORKLOADS[name]) for side in sides}
            if number:
                runs.append((seen[old], seen[new]))
        found[name] = compared(runs)
        sys.stderr.write(f"{name}: {json.dumps(found[name])}\n")
    return found


def main() -> int:
    """Run the pairs and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=[*WORKLOADS], default=[*WORKLOADS])
    parser.add_argument("--write", type=Path, help="write NAME.json and NAME.md, e.g. benchmarks/results/compare")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-") as folder:
        old, new = (Side(getattr(options, name).resolve(), Path(folder) / name) for name in ("old", "new"))
        with old.started(), new.started():
            workloads = measured(old, new, options)
    loads = {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1)}
    report = {"old": _commit(old.checkout), "new": _commit(new.checkout), "pairs": options.pairs, "workloads": workloads}
    report |= {**loads, "machine": machine()}
    publish(report, markdown(report), options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
