"""Executor `thread`: the handler is a plain function and runs in a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial
from typing import Any

from taskmill import constants as c
from taskmill.plugin import constants as pc
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition
from taskmill.plugin.executors.daemon_pool import DaemonPool
from taskmill.plugin.executors.leftover import outlives


class ThreadExecutor:
    """Runs handlers in threads. A thread cannot be killed: a cancel or timeout sets `context.cancelled`, the worker goes on,
    and the thread is written off; another takes its place. `exhausted` says that too many never came back.
    """

    def __init__(self, size: int = pc.THREADS_MAX, abandoned_max: int = c.THREADS_ABANDONED_MAX) -> None:
        self.pool = DaemonPool(size)
        self._abandoned_max = abandoned_max

    @property
    def exhausted(self) -> bool:
        """Say whether the process should be replaced: threads that hang hold memory, connections and locks."""
        return self.pool.stuck(c.DEADLINE_GRACE_S) >= self._abandoned_max

    async def run(self, definition: TaskDefinition, parameters: dict[str, Any], context: TaskContext | None) -> Any:
        """Run the handler in a thread, with the context variables of the caller."""
        if definition.call.context is not None:
            parameters[definition.call.context] = context
        work = partial(contextvars.copy_context().run, partial(definition.function, **parameters))
        call = self.pool.submit(work)
        outlives(call)
        return await asyncio.wrap_future(call)

    async def close(self) -> None:
        """Let go of the pool without waiting for handlers that do not end."""
        self.pool.shutdown(wait=False)
