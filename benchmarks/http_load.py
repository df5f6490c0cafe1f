# ruff: noqa: INP001  单个脚本，不是包
"""One API process under load, access log in JSON: `python -m benchmarks.http_load`.

First 32 connections submit one task after the other, as fast as they are answered. Then 1,000 connections are open and requests
come at a fixed rate, 70 % of that: submits, single tasks and lists. Times of the second part count from the moment in which a
request was due, so that a server that stands still is not spared what would have come meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter, deque
from typing import Any

import uvloop

from benchmarks.stand import Role, Stand, bar, percentiles, run, sampled

PER_S, SHARE, CONNECTIONS, CALLERS = 3_000, 0.7, 1_000, 32
MIX = {"submit": 70, "task": 25, "list": 5}
BODY = json.dumps({"kind": "bench.noop", "args": {"to": "user@example.com", "n": 1, "subject": "hello world"}}).encode()
ROUND = 1_000  # 每开这么多个任务，记一个编号供查询


class Asked:
    """The requests, ready to be sent."""

    def __init__(self, key: str) -> None:
        self._head = f"Host: bench\r\nAuthorization: Bearer {key}\r\n"
        self.known: list[str] = []

    def of(self, sort: str) -> bytes:
        """Return one request."""
        if sort == "submit":
            size = f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
            return f"POST /api/v1/tasks HTTP/1.1\r\n{self._head}{size}\r\n".encode() + BODY
        known = random.choice(self.known)  # noqa: S311 - 不是密码
        path = f"/api/v1/tasks/{known}" if sort == "task" else "/api/v1/tasks?queue=default&state=available"
        return f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode()


class Connection:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head[9:12]), await self._reader.readexactly(int(length.partition(b":")[2]))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def connected(port: int, count: int) -> list[Connection]:
    """Open so many connections to this machine."""
    return [Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(count)]


async def _fast(port: int, asked: Asked, count: int) -> dict[str, Any]:
    connections, left = await connected(port, CALLERS), iter(range(count))
    took, statuses = list[float](), Counter[int]()

    async def caller(connection: Connection) -> None:
        for number in left:
            began = time.perf_counter()
            status, body = await connection.ask(asked.of("submit"))
            took.append((time.perf_counter() - began) * 1000)
            statuses[status] += 1
            if number % ROUND == 0:
                asked.known.append(json.loads(body)["data"]["id"])

    began = time.perf_counter()
    await asyncio.gather(*map(caller, connections))
    spent = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return {"per_s": count / spent, "ms": percentiles(took), "statuses": dict(statuses)}


async def _steady(port: int, asked: Asked, per_s: float, seconds: float) -> dict[str, Any]:
    """到时就发，谁空着谁发；都占着的，排队的时间也算它的。"""
    idle = deque(await connected(port, CONNECTIONS))
    took: dict[str, list[float]] = {sort: [] for sort in MIX}
    answers, waiting = Counter[str](), asyncio.Semaphore(CONNECTIONS)

    async def one(sort: str, due: float) -> None:
        async with waiting:
            connection = idle.popleft()
            try:
                status, _ = await connection.ask(asked.of(sort))
                answers[str(status)] += 1
            except (OSError, asyncio.IncompleteReadError) as error:
                answers[type(error).__name__] += 1
            took[sort].append((time.perf_counter() - due) * 1000)
            idle.append(connection)

    began, sorts = time.perf_counter(), random.Random(1)  # noqa: S311 - 同上
    async with asyncio.TaskGroup() as group:
        for number in range(int(per_s * seconds)):
            due = began + number / per_s
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            group.create_task(one(sorts.choices([*MIX], [*MIX.values()])[0], due))
    for connection in idle:
        connection.close()
    whole = [each for found in took.values() for each in found]
    return {
        "ms": percentiles(whole),
        "each": {sort: percentiles(found) for sort, found in took.items()},
        "answers": dict(answers),
    }


async def _measured(role: Role, key: str, options: argparse.Namespace) -> dict[str, Any]:
    asked, stop = Asked(key), asyncio.Event()
    await _fast(role.port, asked, CALLERS * 20)
    fast = await _fast(role.port, asked, options.posts)
    memory = sampled(role.rss_mb, stop)
    steady = await _steady(role.port, asked, fast["per_s"] * SHARE, options.seconds)
    stop.set()
    wrong = sum(count for answer, count in steady["answers"].items() if answer not in {"200", "201"})
    lines = role.log.count('"path"')
    answered = CALLERS * 20 + options.posts + sum(steady["answers"].values())
    return {
        "subject": f"One API process: {CALLERS} connections, then {CONNECTIONS:,} open ones at {SHARE:.0%} of the rate",
        "bars": [
            bar("time of a submit, 32 connections", 1e6 / fast["per_s"], 1e6 / PER_S, "µs"),
            bar("submit, 32 connections, p99", fast["ms"]["p99"], 50, "ms"),
            bar("1,000 connections, p95", steady["ms"]["p95"], 200, "ms"),
            bar("1,000 connections, p99", steady["ms"]["p99"], 500, "ms"),
            bar("errors", wrong, 1, ""),
            bar("requests without a line in the access log", answered - lines, 1, ""),
        ],
        "seen": {
            "submits a second": round(fast["per_s"]), "fast, ms": fast["ms"], "steady, ms": steady["ms"], **steady["each"],
            "answers": steady["answers"], "rss, MB": round(await memory, 1),
        },
    }  # fmt: skip


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Load one API."""
    with stand.api(descriptors=4_096, LOG_FORMAT="json", ALLOW_UNKNOWN_KINDS="1") as role:
        return uvloop.run(_measured(role, stand.key, options))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_load", description=__doc__)
    parser.add_argument("--posts", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=20)
    return run("http-load", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
