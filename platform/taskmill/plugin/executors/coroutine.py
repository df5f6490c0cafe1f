"""Executor `async`: the handler is a coroutine function and runs on the worker's event loop."""

from __future__ import annotations

from typing import Any

from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition


class CoroutineExecutor:
    """Awaits the handler; a cancel reaches it as asyncio.CancelledError."""

    exhausted = False  # 协程不占线程

    async def run(self, definition: TaskDefinition, parameters: dict[str, Any], context: TaskContext | None) -> Any:
        """Await the handler with its parameters."""
        if definition.call.context is not None:
            parameters[definition.call.context] = context
        return await definition.function(**parameters)

    async def close(self) -> None:
        """Hold nothing."""
