# ruff: noqa: INP001  单个脚本，不是包
"""Batches of the largest size at once: `python -m benchmarks.big_batches`.

Eight clients send 32 MB to `POST /tasks/batch` at the same moment and come back when they are told to; then eight send what
JSON can do worst to a process that builds all of it: empty lists without end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

import httpx2

from benchmarks.stand import Role, Stand, bar, run, sampled
from taskmill import constants as c

CLIENTS, TRIES, BACKOFF_MAX = 8, 400, 16
ROOM = 64 * 1024


def filled(size: int) -> bytes:
    """Return a batch of as many tasks as may be, `size` bytes long."""
    task = {"kind": "bench.any", "args": {"text": "x" * ((size - ROOM) // c.BATCH_MAX_TASKS - 60)}}
    return json.dumps({"tasks": [task] * c.BATCH_MAX_TASKS}, separators=(",", ":")).encode()


def bomb(size: int) -> bytes:
    """Return a batch of one task whose args are empty lists."""
    return b'{"tasks":[{"kind":"bench.any","args":{"a":[' + b"[]," * ((size - ROOM) // 3) + b"[]]}}]}"


async def _client(base: str, key: str, body: bytes, status: int) -> dict[str, Any]:
    """送到有了别的回答为止：503 说多久再来。"""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    turned_away, began = 0, time.perf_counter()
    async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=300) as client:
        for _ in range(TRIES):
            answer = await client.post("/api/v1/tasks/batch", content=body)
            if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE:
                break
            turned_away += 1
            # 像客户端该做的那样退避：每一次都要把 32 MB 再送一遍
            await asyncio.sleep(float(answer.headers["retry-after"]) * min(2**turned_away, BACKOFF_MAX))
    if answer.status_code != status:
        raise RuntimeError(answer.text[:500])
    return {"s": time.perf_counter() - began, "turned away": turned_away}


async def _wave(role: Role, key: str, body: bytes, status: int) -> dict[str, Any]:
    stop = asyncio.Event()
    before, cpu, began = role.rss_mb(), role.cpu_s(), time.perf_counter()
    most = sampled(role.rss_mb, stop)
    base = f"http://127.0.0.1:{role.port}"
    done = await asyncio.gather(*(_client(base, key, body, status) for _ in range(CLIENTS)))
    spent = time.perf_counter() - began
    stop.set()
    return {
        "body, MB": round(len(body) / 2**20, 1), "RSS before": round(before), "RSS at most": round(await most),
        "RSS after": round(role.rss_mb()), "all done, s": round(spent, 1), "CPU, s": round(role.cpu_s() - cpu, 1),
        "503": sum(each["turned away"] for each in done), "slowest client, s": round(max(each["s"] for each in done), 1),
    }  # fmt: skip


async def _measured(role: Role, key: str, megabytes: int) -> dict[str, Any]:
    size = megabytes * 2**20
    full = await _wave(role, key, filled(size), 201)
    worst = await _wave(role, key, bomb(size), 413)
    return {
        "subject": f"{CLIENTS} batches of {megabytes} MB at once",
        "bars": [
            bar("RSS of the API, batches of 10,000 tasks", full["RSS at most"], 400, "MB"),
            bar("RSS of the API, batches of empty lists", worst["RSS at most"], 400, "MB"),
        ],
        "seen": {"10,000 tasks each": full, "empty lists": worst},
    }


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Send them to a real API process."""
    with stand.api(ALLOW_UNKNOWN_KINDS="1") as role:
        return asyncio.run(_measured(role, stand.key, options.mb))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_batches", description=__doc__)
    parser.add_argument("--mb", type=int, default=32)
    return run("big-batches", measure, parser)


if __name__ == "__main__":
    sys.exit(main())
