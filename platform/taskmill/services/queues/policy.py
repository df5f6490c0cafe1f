"""What can be set for a queue, once for REST, command line and operator.

A new setting is a field of `QueueSettings`, `QueuePolicyChange` and `QueueView`, its bounds in `BOUNDS`, and a column of
the same name in `models/task_queue.py`; stores, fleet and operator hand on whatever is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from taskmill import bounds
from taskmill.clock import Timestamp
from taskmill.errors import Code, InputError

BOUNDS: Mapping[str, bounds.Range] = {
    "retention_s": bounds.RETENTION_S,
    "max_running": bounds.LIMIT,
    "max_running_per_key": bounds.LIMIT,
    "max_backlog": bounds.BACKLOG,
}
_RATE: Mapping[str, bounds.Range] = {"limit": bounds.LIMIT, "period_s": bounds.RATE_PERIOD_S, "burst": bounds.LIMIT}


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limit` starts in `period_s` seconds, at most `burst` at once (default: as many as the limit)."""

    limit: Annotated[int, bounds.LIMIT.meta()]
    period_s: Annotated[float, bounds.RATE_PERIOD_S.meta()]
    burst: Annotated[int, bounds.LIMIT.meta()] | None = None


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is set for a queue beside its pause.

    `retention_s`: how long its finished tasks are kept, at most as long as the platform keeps any (null: just so long).
    """

    retention_s: int | None = None


class QueuePolicy(QueueSettings, frozen=True, kw_only=True):
    """What holds for a queue, its pause included."""

    paused: bool = False
    paused_by: str | None = None


class QueuePolicyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall hold for a queue; a field that is left out stays as it is.

    `retention_s`: seconds that its finished tasks are kept; 0: nothing is kept; null: as long as the platform keeps all.
    `max_running`: tasks that run at once, `max_running_per_key`: the same for each `concurrency_key`, `rate`: starts in a
    time, `max_backlog`: tasks that may wait; null: no limit.
    """

    paused: bool | msgspec.UnsetType = msgspec.UNSET
    retention_s: Annotated[int, bounds.RETENTION_S.meta()] | msgspec.UnsetType | None = msgspec.UNSET
    max_running: Annotated[int, bounds.LIMIT.meta()] | msgspec.UnsetType | None = msgspec.UNSET
    max_running_per_key: Annotated[int, bounds.LIMIT.meta()] | msgspec.UnsetType | None = msgspec.UNSET
    rate: Rate | msgspec.UnsetType | None = msgspec.UNSET
    max_backlog: Annotated[int, bounds.BACKLOG.meta()] | msgspec.UnsetType | None = msgspec.UNSET

    def check(self) -> None:
        """Raise InputError INVALID_REQUEST unless each number is within its bounds."""
        for name, bound in BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, int) and (reason := bound.refusal(value)) is not None:
                raise InputError(Code.INVALID_REQUEST, field=name, reason=reason)
        for name, bound in _RATE.items() if isinstance(self.rate, Rate) else ():
            value = getattr(self.rate, name)
            if value is not None and (reason := bound.refusal(value)) is not None:
                raise InputError(Code.INVALID_REQUEST, field=f"rate.{name}", reason=reason)

    def values(self) -> dict[str, Any]:
        """Return the fields that were given."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not msgspec.UNSET}
        if isinstance(self.rate, Rate):
            given["rate"] = {
                "limit": self.rate.limit,
                "period_s": self.rate.period_s,
                "burst": self.rate.burst or self.rate.limit,
            }
        return given


class LiveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Live tasks by state; `held`: of the available ones those that limits hold."""

    scheduled: int
    available: int
    running: int
    retryable: int
    held: int = 0


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """One queue; `oldest_wait_s` is how long its oldest available task has been ready.

    `retention_s`: how long its finished tasks are kept, at most as long as the platform keeps any (null: just so long).
    """

    name: str
    paused: bool
    paused_at: Timestamp | None
    paused_by: str | None
    retention_s: int | None
    max_running: int | None
    max_running_per_key: int | None
    rate: Rate | None
    max_backlog: int | None
    live: LiveCounts
    oldest_wait_s: float
    created_at: Timestamp
    updated_at: Timestamp
