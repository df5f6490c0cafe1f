"""What a submit may say beside the kind and the args, as keyword arguments; `services.tasks.submit_request` checks them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from taskmill.controls.order import OnParentFailure, OnSequenceFailure
from taskmill.controls.unique import Unique


class SubmitOptions(TypedDict, total=False):
    """The options of a submit, by the names that REST has; a new one is a line here, and a test compares both.

    Times carry a zone, durations are seconds, what is left out is the kind's default. `unique` None: however often.
    """

    version: int
    queue: str
    priority: int
    run_at: datetime
    delay_s: float
    expires_at: datetime
    max_attempts: int
    timeout_s: float
    tags: list[str]
    unique: Unique | None
    unique_key: str
    concurrency_key: str
    fairness_key: str
    sequence_key: str
    sequence_on_failure: OnSequenceFailure
    depends_on: list[UUID]
    on_parent_failure: OnParentFailure
    meta: dict[str, Any]
