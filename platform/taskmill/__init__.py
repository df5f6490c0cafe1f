"""Taskmill: durable background tasks on PostgreSQL and Valkey, with handlers from plugins."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmill.controls.concurrency_key import Concurrency
    from taskmill.controls.fairness_key import Fairness
    from taskmill.controls.request import TaskRequest
    from taskmill.controls.unique import Unique
    from taskmill.door.interface import Order
    from taskmill.door.taskmill import Taskmill
    from taskmill.errors import Discard, Retry, Snooze, TaskCancelled, TaskFailed, TaskmillError
    from taskmill.plugin.context import TaskContext
    from taskmill.plugin.definition import OnOom, RetryPolicy, task
    from taskmill.plugin.hookspecs import hookimpl

__version__ = "0.1.0"

__all__ = [
    "Concurrency",
    "Discard",
    "Fairness",
    "OnOom",
    "Order",
    "Retry",
    "RetryPolicy",
    "Snooze",
    "TaskCancelled",
    "TaskContext",
    "TaskFailed",
    "TaskRequest",
    "Taskmill",
    "TaskmillError",
    "Unique",
    "__version__",
    "hookimpl",
    "task",
]

# 用到才导入：插件接口要带上 taskiq，而命令行的 --help 等不起那一秒
_HOMES = {
    "Concurrency": "taskmill.controls.concurrency_key",
    "Discard": "taskmill.errors",
    "Fairness": "taskmill.controls.fairness_key",
    "OnOom": "taskmill.plugin.definition",
    "Order": "taskmill.door.interface",
    "Retry": "taskmill.errors",
    "RetryPolicy": "taskmill.plugin.definition",
    "Snooze": "taskmill.errors",
    "TaskCancelled": "taskmill.errors",
    "TaskContext": "taskmill.plugin.context",
    "TaskFailed": "taskmill.errors",
    "TaskRequest": "taskmill.controls.request",
    "Taskmill": "taskmill.door.taskmill",
    "TaskmillError": "taskmill.errors",
    "Unique": "taskmill.controls.unique",
    "hookimpl": "taskmill.plugin.hookspecs",
    "task": "taskmill.plugin.definition",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(name)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
