# ruff: noqa: INP001  单个脚本，不是包
"""Clients that connect and say little or nothing, against an API with few descriptors: `python -m benchmarks.half_open`.

300 connections (half of them silent, half sending a byte of a header every second) are kept up for `--seconds`; whoever is
thrown out comes back. Ordinary clients ask meanwhile on new connections and on kept ones.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import httpx2

from benchmarks.stand import Prober, Role, Stand, bar, percentiles, run, sampled

HALF_OPEN, DESCRIPTORS, ORDINARY = 300, 300, 8
LEFT = (OSError, asyncio.IncompleteReadError, TimeoutError)
CALM_S = 12.0  # 时限之后：半开的都该走了


class Siege:
    """Half-open connections, kept up."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.opened = 0

    async def hold(self, number: int) -> None:
        """Keep one connection, silent or slow, and open it anew whenever it ends."""
        while True:
            with suppress(*LEFT):
                await self._one(slow=number % 2 == 1)
            await asyncio.sleep(0.05)

    async def _one(self, *, slow: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.opened += 1
        try:
            if not slow:
                await reader.read()
                return
            writer.write(b"GET /api/v1/tasks HTTP/1.1\r\nx: ")
            while not reader.at_eof() and not writer.is_closing():
                writer.write(b"v")
                await writer.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await reader.read(1)
        finally:
            writer.transport.abort()


async def _ask(base: str, key: str, until: float, *, kept: bool) -> list[float | str]:
    """一个普通客户端：每次多久得到 200；没得到的是为什么。"""
    found: list[float | str] = []
    headers = {"Authorization": f"Bearer {key}", **({} if kept else {"Connection": "close"})}
    async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=30) as client:
        while time.monotonic() < until:
            began = time.perf_counter()
            try:
                answer = await client.get("/api/v1/tasks")
                ok = answer.status_code == httpx2.codes.OK
                found.append((time.perf_counter() - began) * 1000 if ok else f"{answer.status_code}")
            except httpx2.HTTPError as error:
                found.append(f"{type(error).__name__} on a {'kept' if kept else 'new'} connection")
            await asyncio.sleep(0.1)
    return found


async def _measured(role: Role, key: str, seconds: float) -> dict[str, Any]:
    base = f"http://127.0.0.1:{role.port}"
    await _ask(base, key, time.monotonic() + 2, kept=True)
    before, lines, stop = role.descriptors(), role.log.count("\n"), asyncio.Event()
    siege = Siege(role.port)
    holding = [asyncio.create_task(siege.hold(number)) for number in range(HALF_OPEN)]
    await asyncio.sleep(2)
    prober, most, until = (
        Prober(role.probe_port),
        sampled(lambda: float(role.descriptors()), stop),
        time.monotonic() + seconds,
    )
    asked = await asyncio.gather(*(_ask(base, key, until, kept=n % 2 == 0) for n in range(ORDINARY)))
    for each in holding:
        each.cancel()
    stop.set()
    told = await asyncio.to_thread(prober.end)
    await asyncio.sleep(CALM_S)
    answers = [answer for each in asked for answer in each]
    served = [answer for answer in answers if not isinstance(answer, str)]
    other = role.log.count("\n") - lines - len(answers)
    return {
        "subject": f"{HALF_OPEN} half-open connections against {DESCRIPTORS} descriptors",
        "bars": [
            bar("ordinary requests not served", len(answers) - len(served), 1, "of " + str(len(answers))),
            bar("descriptors more than before, afterwards", role.descriptors() - before, 10, ""),
            bar("log lines besides those of ordinary requests", other / seconds, 5, "per second"),
            bar("`/healthz` not answered", told["failed"], 1, f"of {told['asked']}"),
        ],
        "seen": {
            "not served": dict(Counter(answer for answer in answers if isinstance(answer, str))) or "none",
            "ordinary, ms": percentiles(served), "healthz, ms": told["ms"], "prober late, ms": told["late_ms"],
            "half-open connections opened in all": siege.opened, "descriptors at most": int(await most), "before": before,
            "descriptors refused (EMFILE) in the log": role.log.count("Too many open files"),
        },
    }  # fmt: skip


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Besiege a real API process."""
    with stand.api(descriptors=DESCRIPTORS) as role:
        return asyncio.run(_measured(role, stand.key, options.seconds))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.half_open", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    return run("half-open", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
