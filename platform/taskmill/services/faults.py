"""Errors of drivers, as people read them: handlers and loops know only this, never the drivers."""

from __future__ import annotations

from taskmill.errors import TaskmillError
from taskmill.stores import faults
from taskmill.stores.faults import hopeless
from taskmill.stores.why import why

__all__ = ["hopeless", "translate", "why"]


def translate(error: BaseException) -> TaskmillError | None:
    """Return the coded error that `error` stands for, None if it is a bug."""
    return error if isinstance(error, TaskmillError) else faults.translate(error)
