"""The table of faults. A fault is an asynchronous context: it has begun inside, and is over when it has been left.

It takes the stage and a `random.Random` of its own, and gives a word on what it chose.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.driver.schedule import Kind
from tests.chaos.driver.stage import Stage

Body = Callable[[Stage, random.Random], AsyncIterator[str]]
Context = Callable[[Stage, random.Random], AbstractAsyncContextManager[str]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `blocks`: while it lasts, nobody can expect an answer; `needs`: what the stage must have, by attribute."""

    name: str
    kind: Kind
    context: Context
    blocks: bool
    needs: str | None


TABLE: dict[str, Fault] = {}


def fault(
    name: str, family: str, least: float, most: float, *, blocks: bool = False, needs: str | None = None
) -> Callable[[Body], Body]:
    """Put a fault into the table; it lasts between `least` and `most` seconds."""

    def add(body: Body) -> Body:
        TABLE[name] = Fault(name, Kind(family, least, most), asynccontextmanager(body), blocks, needs)
        return body

    return add


async def until(check: Callable[[], bool], seconds: float) -> bool:
    """Wait until `check` is true; says whether that came true in time."""
    for _ in range(int(seconds / 0.1)):
        if check():
            return True
        await asyncio.sleep(0.1)
    return check()


def fill(path: Path) -> None:
    """Write until the disk is full, to the last piece."""
    for size in (1 << 20, 1 << 10):
        with path.open("ab", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * size):
                pass
