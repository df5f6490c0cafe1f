"""What becomes of a request before it is stored: checked, with the defaults of its kind. Pure: no database, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from msgspec import UNSET

from taskmill import constants as c
from taskmill import reasons
from taskmill.controls.key_template import KeyTemplate
from taskmill.errors import Code, InputError
from taskmill.ids import new_id
from taskmill.services.kinds import KindPolicy
from taskmill.services.tasks.payload import encode
from taskmill.services.tasks.submit_request import SubmitRequest, check_request
from taskmill.services.tasks.unique import uniqueness
from taskmill.stores.tasks.submit import NewTask, Uniqueness


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
    return NewTask(
        id=task_id or new_id(),
        queue=request.queue or (policy.queue if policy else c.QUEUE_DEFAULT),
        kind=request.kind,
        kind_version=policy.version if policy else (request.version or 1),
        priority=request.priority or (policy.priority if policy else c.PRIORITY_DEFAULT),
        args=args,
        max_attempts=request.max_attempts or (policy.max_attempts if policy else c.MAX_ATTEMPTS_DEFAULT),
        timeout_ms=round(request.timeout_s * 1000) if request.timeout_s else default_ms,
        meta=_meta(request, limits),
        tags=request.tags,
        run_at=request.run_at,
        delay_s=request.delay_s or 0.0,
        expires_at=request.expires_at,
        concurrency_key=_key(request.concurrency_key, policy and policy.concurrency, request),
        fairness_key=_key(request.fairness_key, policy and policy.fairness, request),
        unique=_unique(request, policy, args, limits),
    )


def _args(request: SubmitRequest, policy: KindPolicy | None, limits: PayloadLimits) -> bytes:
    check_request(request)
    args = encode(request.args, field="args", max_bytes=limits.max_bytes, max_depth=limits.max_depth)
    if not isinstance(request.args, dict):
        raise InputError(Code.ARGS_INVALID, field="args", reason=reasons.NOT_AN_OBJECT, kind=request.kind)
    if policy is not None:
        policy.check(request.args)
    return args


def _key(given: str | None, declared: KeyTemplate | None, request: SubmitRequest) -> str | None:
    return given if given is not None or declared is None else declared.of(request.args)


def _unique(request: SubmitRequest, policy: KindPolicy | None, args: bytes, limits: PayloadLimits) -> Uniqueness | None:
    if request.unique is UNSET and request.unique_key is None and (policy is None or policy.unique is None):
        return None
    return uniqueness(request, policy, args, max_bytes=limits.max_bytes, max_depth=limits.max_depth)


def _meta(request: SubmitRequest, limits: PayloadLimits) -> bytes | None:
    if request.meta is None:
        return None
    return encode(request.meta, field="meta", max_bytes=c.META_MAX_BYTES, max_depth=limits.max_depth)
