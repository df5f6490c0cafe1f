"""`Taskmill` for programs without an event loop."""

from taskmill.door.blocking import Order, Taskmill

__all__ = ["Order", "Taskmill"]
