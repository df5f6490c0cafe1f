"""What makes a task unique, and the wait for a key that somebody's open transaction holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import asdict, replace

from taskmill.controls.unique import Unique
from taskmill.errors import Code, ConflictError, UnavailableError
from taskmill.services import constants as c
from taskmill.services.kinds import KindPolicy
from taskmill.services.tasks.payload import encode
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.tasks.submit import Inserted, NewTask, Uniqueness
from taskmill.stores.tasks.unique import KeyHeldError

Insert = Callable[[Sequence[NewTask], int], Awaitable[dict[UUID, Inserted]]]


def uniqueness(
    request: SubmitRequest, policy: KindPolicy | None, args: bytes, *, max_bytes: int, max_depth: int
) -> Uniqueness | None:
    """Return of what a task may be there once: what the request says, else its kind, None for an ordinary task.

    `args` are those of the request as JSON bytes. InputError INVALID_REQUEST if `by` names what the args do not have.
    """
    rule = _rule(request, policy.unique if policy else None)
    if rule is None:
        return None
    chosen: bytes | None = None
    if rule.key is None:
        value: Any = rule.chosen(request.args, policy.names if policy else ())
        chosen = (
            args if value is request.args else encode(value, field="unique.by", max_bytes=max_bytes, max_depth=max_depth)
        )
    return Uniqueness(**asdict(rule), of=chosen)


def _rule(request: SubmitRequest, of_kind: Unique | None) -> Unique | None:
    if request.unique_key is not None:
        return replace(of_kind or Unique(), key=request.unique_key, by=None)
    return of_kind if request.unique is UNSET else request.unique


def taken(task: NewTask, inserted: Inserted) -> ConflictError | None:
    """Return the error UNIQUE_TAKEN if the task is a duplicate and asked to be refused then."""
    if inserted.duplicate_of is None or task.unique is None or task.unique.on_duplicate != "refuse":
        return None
    return ConflictError(Code.UNIQUE_TAKEN, key=inserted.unique_key, id=str(inserted.duplicate_of))


def busy(tasks: Sequence[NewTask], held: KeyHeldError, seconds: float = c.UNIQUE_WAIT_S) -> UnavailableError:
    """Return the error of keys that another transaction did not let go of; a key made of args is named by its kind."""
    if held.sequence:
        found = {task.order.sequence_key for task in tasks if task.order is not None and task.order.sequence_key is not None}
        return UnavailableError(Code.SEQUENCE_BUSY, key=", ".join(sorted(found)[: c.LOG_KEYS_MAX]), seconds=seconds)
    keys = {task.unique.key or f"{task.kind}:…" for task in tasks if task.unique is not None}
    keys |= {task.once.key for task in tasks if task.once is not None}
    return UnavailableError(Code.UNIQUE_BUSY, key=", ".join(sorted(keys)[: c.LOG_KEYS_MAX]), seconds=seconds)


def busy_key(key: str) -> UnavailableError:
    """Return the same error for one key."""
    return UnavailableError(Code.UNIQUE_BUSY, key=key, seconds=c.UNIQUE_WAIT_S)
