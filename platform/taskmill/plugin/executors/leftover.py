"""What goes on when its attempt is over: a thread cannot be killed, so it outlives a timeout or a cancel."""

from __future__ import annotations

from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

_calls: ContextVar[list[Future[Any]] | None] = ContextVar("calls", default=None)


def gather(calls: list[Future[Any]]) -> None:
    """Collect in `calls` what `outlives` names from now on in this context."""
    _calls.set(calls)


def outlives(call: Future[Any]) -> None:
    """Say, in an executor, that `call` cannot be stopped: limits count its task as running until it is done."""
    if (calls := _calls.get()) is not None:
        calls.append(call)
