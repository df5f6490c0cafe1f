"""Ways to run a handler, registered through the same door as a plugin's."""

from __future__ import annotations

from taskmill.engine.executors.coroutine import CoroutineExecutor
from taskmill.engine.executors.thread import ThreadExecutor
from taskmill.plugin.registry import Registry


def register_builtin(registry: Registry, concurrency: int) -> None:
    """Register `async` and `thread`."""
    registry.executor("async", CoroutineExecutor)
    registry.executor("thread", lambda: ThreadExecutor(concurrency))
