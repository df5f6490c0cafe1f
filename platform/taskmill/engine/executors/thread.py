"""Executor `thread`: the handler is a plain function and runs in a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from taskmill import constants as c
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition


def _call(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    try:
        return function(**parameters)
    except StopIteration as error:  # Future 不收 StopIteration，等待者会永远等下去
        message = "the handler raised StopIteration / 处理函数抛出了 StopIteration"
        raise RuntimeError(message) from error


class ThreadExecutor:
    """Runs handlers in threads. A thread cannot be killed: a cancel or timeout sets `context.cancelled` and the
    worker goes on, while the thread keeps its place in the pool until the handler returns.
    """

    def __init__(self, concurrency: int) -> None:
        self._pool = ThreadPoolExecutor(min(concurrency, c.THREADS_MAX), thread_name_prefix="task")

    async def run(self, definition: TaskDefinition, parameters: dict[str, Any], context: TaskContext | None) -> Any:
        """Run the handler in a thread, with the context variables of the caller."""
        if definition.call.context is not None:
            parameters[definition.call.context] = context
        work = partial(contextvars.copy_context().run, partial(_call, definition.function, parameters))
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def close(self) -> None:
        """Let go of the pool without waiting for handlers that do not end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
