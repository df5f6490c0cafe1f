"""What becomes of a request before it is stored: checked, with the defaults of its kind. Pure: no database, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from msgspec import UNSET

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, InputError
from taskmill.ids import new_id
from taskmill.services.kinds import KindPolicy
from taskmill.services.tasks.payload import encode
from taskmill.services.tasks.submit_request import SubmitRequest, check_request
from taskmill.services.tasks.unique import uniqueness
from taskmill.stores.tasks.submit import NewTask


@dataclass(frozen=True, slots=True)
class PayloadLimits:
    """The most that args may be: encoded bytes, nested levels."""

    max_bytes: int = c.ARGS_MAX_BYTES
    max_depth: int = c.ARGS_MAX_DEPTH


def new_task(
    request: SubmitRequest, policy: KindPolicy | None, limits: PayloadLimits, task_id: UUID | None = None
) -> NewTask:
    """Return the task that a request asks for, under `task_id` or a new id; `policy` None: nobody knows its kind.

    Raises InputError INVALID_REQUEST, ARGS_INVALID, ARGS_TOO_LARGE, ARGS_TOO_DEEP, each with the field.
    """
    args = _args(request, policy, limits)
    default_ms = policy.timeout_ms if policy else round(c.TIMEOUT_DEFAULT_S * 1000)
    task = NewTask(
        id=task_id or new_id(),
        queue=request.queue or (policy.queue if policy else c.QUEUE_DEFAULT),
        kind=request.kind,
        kind_version=policy.version if policy else (request.version or 1),
        priority=request.priority or (policy.priority if policy else c.PRIORITY_DEFAULT),
        args=args,
        max_attempts=request.max_attempts or (policy.max_attempts if policy else c.MAX_ATTEMPTS_DEFAULT),
        timeout_ms=round(request.timeout_s * 1000) if request.timeout_s else default_ms,
        meta=None if request.meta is None else _meta(request.meta, limits),
        tags=request.tags,
        run_at=request.run_at,
        delay_s=request.delay_s or 0.0,
        expires_at=request.expires_at,
        concurrency_key=request.concurrency_key,
        fairness_key=request.fairness_key,
    )
    # 多数请求与类型都没有这些，不为它们付账
    if policy is not None and task.concurrency_key is None and policy.concurrency is not None:
        task.concurrency_key = policy.concurrency.of(request.args)
    if policy is not None and task.fairness_key is None and policy.fairness is not None:
        task.fairness_key = policy.fairness.of(request.args)
    if request.unique is not UNSET or request.unique_key is not None or (policy is not None and policy.unique is not None):
        task.unique = uniqueness(request, policy, args, max_bytes=limits.max_bytes, max_depth=limits.max_depth)
    return task


def _args(request: SubmitRequest, policy: KindPolicy | None, limits: PayloadLimits) -> bytes:
    check_request(request)
    args = encode(request.args, field="args", max_bytes=limits.max_bytes, max_depth=limits.max_depth)
    if not isinstance(request.args, dict):
        raise InputError(Code.ARGS_INVALID, field="args", reason=reasons.NOT_AN_OBJECT, kind=request.kind)
    if policy is not None:
        policy.check(request.args)
    return args


def _meta(meta: dict[str, Any], limits: PayloadLimits) -> bytes:
    return encode(meta, field="meta", max_bytes=c.META_MAX_BYTES, max_depth=limits.max_depth)
