"""Wait for what other processes do, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

POLL_S = 0.01
TIMEOUT_S = 10.0

T = TypeVar("T")


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
