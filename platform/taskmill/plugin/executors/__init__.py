"""Ways to run a handler, registered through the same door as a plugin's."""

from __future__ import annotations

from taskmill import constants as c
from taskmill.plugin.executors.coroutine import CoroutineExecutor
from taskmill.plugin.executors.thread import ThreadExecutor
from taskmill.plugin.registry import Registry


def register_builtin(registry: Registry, abandoned_max: int = c.THREADS_ABANDONED_MAX) -> None:
    """Register `async` and `thread`; `abandoned_max` threads that never came back make the worker ask for its end."""
    registry.executor("async", CoroutineExecutor)
    registry.executor("thread", lambda: ThreadExecutor(abandoned_max=abandoned_max))
