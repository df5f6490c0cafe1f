"""Wait for what other processes do, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

POLL_S = 0.01
PROBE_S = 0.2  # 测慢了几倍所用的 CPU 时间：几个调度时间片
TIMEOUT_S = 60.0  # 只在失败时才等这么久；忙的机器慢几倍也不该算失败

T = TypeVar("T")


def slowness() -> float:
    """Return by how much other processes slow this one down now (1.0: not at all), to scale a promised time by."""
    wall, used = time.perf_counter(), time.thread_time()
    while time.thread_time() - used < PROBE_S:
        pass
    return max(1.0, (time.perf_counter() - wall) / (time.thread_time() - used))


async def eventually(
    predicate: Callable[[], Awaitable[T] | T], *, timeout: float = TIMEOUT_S, poll: float = POLL_S, why: str = ""
) -> T:
    """Call `predicate` (plain or async) until it returns something true, and return that.

    Raises AssertionError with the last value after `timeout` seconds. Exceptions of the predicate pass through.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = predicate()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() >= deadline:
            message = f"not within {timeout} s{': ' + why if why else ''}; last value: {value!r}"
            raise AssertionError(message)
        await anyio.sleep(poll)
