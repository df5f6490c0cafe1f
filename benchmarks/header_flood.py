# ruff: noqa: INP001  单个脚本，不是包
"""Headers and garbage without a key from many connections: `python -m benchmarks.header_flood`.

Each form sends its share of `--mb`; who is refused comes back on a new connection. `held` stops just below the limit of a
header and waits, so that all connections hold as much as they may at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from benchmarks.stand import Prober, Role, Stand, bar, run, sampled
from taskmill import constants as c

CONNECTIONS = 64
PIECE = 64 * 1024
START = b"GET /api/v1/tasks HTTP/1.1\r\n"
SHARE = 4 * PIECE  # 一个连接发这么多，再等回答
PATIENCE_S = 5.0
HELD_S = 3.0
LEFT = (ConnectionError, TimeoutError, asyncio.IncompleteReadError)
# 名字 → (开头, 反复发送的一段)
FORMS: dict[str, tuple[bytes, bytes]] = {
    "many short headers": (START, b"a:b\r\n" * (PIECE // 5)),
    "one endless value": (START + b"x: ", b"v" * PIECE),
    "an endless target": (b"GET /", b"p" * PIECE),
    "garbage": (b"", os.urandom(PIECE)),
    "headers of whole requests": (b"", (START + b"Host: x\r\nx: " + b"v" * 60_000 + b"\r\n\r\n")),
    "requests in one piece": (b"", (START + b"Host: x\r\n\r\n") * (PIECE // 40)),
    "many names": (START, b"".join(b"x-%d: v\r\n" % number for number in range(6_000))),
}


class Flood:
    """Bytes that are thrown at one port."""

    def __init__(self, port: int, start: bytes, piece: bytes, size: int) -> None:
        self._port, self._start, self._piece, self._left = port, start, piece, size
        self.sent = self.connections = 0

    async def throw(self) -> None:
        """Send until all of it is gone."""
        await asyncio.gather(*(self._one() for _ in range(CONNECTIONS)))

    async def _one(self) -> None:
        while self._left > 0:
            with suppress(*LEFT, OSError):
                await self._connection()

    async def _connection(self) -> None:
        """直到对方回答、关闭，或发完自己的一份。"""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.connections += 1
        answered = asyncio.create_task(reader.read(1))
        try:
            writer.write(self._start)
            for _ in range(SHARE // PIECE):
                writer.write(self._piece)
                self._left -= len(self._piece)
                self.sent += len(self._piece)
            async with asyncio.timeout(PATIENCE_S):
                await answered
        finally:
            answered.cancel()
            writer.transport.abort()


async def _hold(port: int) -> int:
    """所有连接各占满一份请求头：一个头的值写到上限之前停住。"""
    size = c.HTTP_HEADER_MAX_BYTES - 2_000
    held: list[asyncio.StreamWriter] = []
    for _ in range(c.HTTP_CONNECTIONS_MAX):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(START + b"x: " + b"v" * size)
            held.append(writer)
    await asyncio.sleep(HELD_S)
    for writer in held:
        writer.transport.abort()
    return len(held)


async def _measured(role: Role, megabytes: int) -> dict[str, Any]:
    stop, seen, told = asyncio.Event(), dict[str, Any](), list[dict[str, Any]]()
    before, cpu = role.rss_mb(), role.cpu_s()
    most = sampled(role.rss_mb, stop)
    for name, (start, piece) in FORMS.items():
        flood = Flood(role.port, start, piece, megabytes * 2**20 // len(FORMS))
        seen[name] = await _watched(role, flood.throw(), told)
        seen[name] |= {"MB": round(flood.sent / 2**20), "connections": flood.connections}
    seen["held just below the limit"] = await _watched(role, _hold(role.port), told) | {
        "connections": c.HTTP_CONNECTIONS_MAX
    }
    stop.set()
    late = max(each["late_ms"]["max"] for each in told)
    slowest = max(each["ms"]["max"] for each in told)
    seen |= {"the prober's own clock was late, ms": late, "CPU of the API, s": round(role.cpu_s() - cpu, 2)}
    seen |= {"RSS before, MB": round(before), "log lines": role.log.count("\n")}
    return {
        "subject": f"{megabytes} MB of request headers and garbage from {CONNECTIONS} connections at a time",
        "bars": [
            bar("RSS of the API grows by", await most - before, 50, "MB"),
            bar("`/healthz` on the health port, slowest", slowest, 100, "ms"),
            bar("`/healthz` not answered", sum(each["failed"] for each in told), 1, "times"),
        ],
        "seen": seen,
    }


async def _watched(role: Role, attack: Coroutine[Any, Any, object], told: list[dict[str, Any]]) -> dict[str, Any]:
    prober, began = Prober(role.probe_port), time.perf_counter()
    await attack
    spent = time.perf_counter() - began
    answers = await asyncio.to_thread(prober.end)
    told.append(answers)
    probes = {"healthz": answers["asked"], "p99 ms": answers["ms"]["p99"], "max ms": answers["ms"]["max"]}
    return {"s": round(spent, 1), "RSS": round(role.rss_mb()), **probes, "late ms": answers["late_ms"]["max"]}


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Flood a real API process."""
    with stand.api() as role:
        return asyncio.run(_measured(role, options.mb))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.header_flood", description=__doc__)
    parser.add_argument("--mb", type=int, default=200)
    return run("header-flood", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
