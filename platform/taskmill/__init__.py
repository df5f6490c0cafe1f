"""Taskmill: durable background tasks on PostgreSQL and Valkey, with handlers from plugins."""

from taskmill.errors import Discard, Retry, Snooze, TaskmillError
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import RetryPolicy, task
from taskmill.plugin.specs import hookimpl

__version__ = "0.1.0"

__all__ = ["Discard", "Retry", "RetryPolicy", "Snooze", "TaskContext", "TaskmillError", "__version__", "hookimpl", "task"]
