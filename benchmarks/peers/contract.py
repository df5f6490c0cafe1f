# ruff: noqa: INP001  单个脚本，不是包
"""What the driver of a peer answers. This file needs the standard library alone: drivers import it in environments of their own.

    DRIVER about                    {"system", "versions", "store", "durable", "tuned", "measures", "share"}
    DRIVER MEASURE N CONCURRENCY    {"measure", "n", "seconds", "held"}

One JSON object on the last line of stdout; anything before it is ignored. PEER_DATABASE_URL and PEER_BROKER_URL are an empty
PostgreSQL database and an empty Valkey. PEER_TALLY is a file of N zero bytes, shared by all processes: task number i sets byte
i to 1, and the caller counts them. `held` is what the store has that is not done: N after a submit, 0 after a drain.

Measures: `single` (32 callers submit one at a time), `batch` (1,000 a call, two calls at a time), `drain` (N tasks wait, then a
worker of CONCURRENCY runs them; the clock starts when the worker says that it is ready and stops when the store holds none).
`share` is the part of the ordinary N that is enough for a slow system.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

CALLERS = 32
BATCH = 1_000
POLL_S = 0.01
END_S = 30.0
Measure = Callable[[int, int], tuple[float, int]]


class Tally:
    """A byte per task; no lock is needed, because nobody writes another's byte."""

    def __init__(self) -> None:
        with Path(os.environ["PEER_TALLY"]).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def mark(self, number: int) -> None:
        """Say that task `number` ran."""
        self._map[number] = 1

    def count(self) -> int:
        """Return how many ran."""
        return self._map[:].count(1)


def database_url() -> str:
    """Return the URL of the empty database."""
    return os.environ["PEER_DATABASE_URL"]


def broker_url() -> str:
    """Return the URL of the empty Valkey."""
    return os.environ["PEER_BROKER_URL"]


def answer(about: dict[str, Any], packages: list[str], measures: dict[str, Measure]) -> None:
    """Answer the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # 走 finally，工作进程才不会留下
    if sys.argv[1] == "about":
        said = {"versions": {name: version(name) for name in packages}, "measures": [*measures], "share": 1.0} | about
    else:
        name, n, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        seconds, held = measures[name](n, concurrency)
        said = {"measure": name, "n": n, "seconds": seconds, "held": held}
    sys.stdout.write(json.dumps(said) + "\n")


async def from_coroutines(n: int, submit: Callable[[int], Awaitable[Any]]) -> float:
    """Submit tasks 0 to n - 1 from 32 coroutines; return the seconds."""
    numbers = iter(range(n))

    async def caller() -> None:
        for number in numbers:
            await submit(number)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return time.perf_counter() - began


def from_threads(n: int, submit: Callable[[int], Any]) -> float:
    """Submit tasks 0 to n - 1 from 32 threads; return the seconds."""

    def caller(first: int) -> None:
        for number in range(first, n, CALLERS):
            submit(number)

    with ThreadPoolExecutor(CALLERS) as pool:
        began = time.perf_counter()
        for done in [pool.submit(caller, first) for first in range(CALLERS)]:
            done.result()
        return time.perf_counter() - began


def _ready_file() -> Path:
    return Path(os.environ["PEER_TALLY"] + ".ready")


def ready() -> None:
    """Say in a process of the worker that it can begin."""
    with _ready_file().open("a") as file:
        file.write(f"{time.monotonic()}\n")  # 单调钟全机一致，所以父进程能拿它来减


@contextmanager
def _worker(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=sys.stderr)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def drained(command: list[str], n: int, held: Callable[[], int]) -> tuple[float, int]:
    """Run a worker whose processes call `ready` until all ran and the store holds none; return the seconds and what it holds."""
    tally = Tally()
    with _worker(command) as process:
        while tally.count() < n or held():
            if process.poll() is not None:
                raise RuntimeError(f"the worker ended with {process.returncode}: {tally.count()} of {n} tasks ran")
            time.sleep(POLL_S)
        ended = time.monotonic()
    began = min(float(line) for line in _ready_file().read_text().split())
    return ended - began, held()
