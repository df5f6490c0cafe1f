"""What a client says of a task, and what of it is refused before anything else is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from taskmill import bounds, naming, reasons
from taskmill import constants as c
from taskmill.bounds import Range, bad_delay, bad_moment
from taskmill.controls.order import OnParentFailure, OnSequenceFailure, bad_order
from taskmill.controls.request import TaskRequest
from taskmill.controls.unique import Unique, bad_key
from taskmill.errors import Code, InputError
from taskmill.services import constants as svc
from taskmill.text.validation import in_both
from taskmill.words import Words

# 写进接口说明的；检查在 check_request，它的话点得出字段与原因
KindName = Annotated[
    str, Meta(description="Kind of the task, such as `report.build`.", extra_json_schema={"maxLength": c.NAME_MAX_CHARS})
]
QueueName = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": c.NAME_MAX_CHARS})]
Priority = Annotated[int, Meta(description="1 is the highest.", extra_json_schema={"enum": list(c.PRIORITIES)})]
Args = Annotated[
    Any,
    Meta(description="What the handler gets; checked against the kind's JSON Schema.", extra_json_schema={"type": "object"}),
]


def _moment(description: str) -> Meta:
    return Meta(description=description, extra_json_schema={"format": "date-time"})


# omit_defaults：没给的选项不写进 JSON，版本旧一些的数据库不认得新的
class SubmitRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client says of a task. None means: the kind's default. Times carry a zone; durations are seconds."""

    kind: KindName
    args: Args = msgspec.field(default_factory=dict[str, Any])
    version: Annotated[int, bounds.VERSION.meta("Version of the kind; default: the newest.")] | None = None
    queue: QueueName | None = None
    priority: Priority | None = None
    run_at: Annotated[datetime, _moment("Do not start before; with a time zone.")] | None = None
    delay_s: Annotated[float, bounds.DELAY_S.meta("Seconds from now; not together with `run_at`.")] | None = None
    expires_at: Annotated[datetime, _moment("Do not start after; with a time zone.")] | None = None
    max_attempts: Annotated[int, bounds.ATTEMPTS.meta("Attempts in all.")] | None = None
    timeout_s: Annotated[float, bounds.TIMEOUT_S.meta("Longest time of one attempt, in seconds.")] | None = None
    tags: Annotated[list[str], Meta(extra_json_schema={"maxItems": svc.TAGS_MAX})] = []
    unique: (
        Annotated[Unique, Meta(description="There once only; null: however often. Default: the kind's.")] | UnsetType | None
    ) = UNSET
    unique_key: Annotated[str, Meta(description="Short for `unique.key`; the rest as the kind has it.")] | None = None
    concurrency_key: (
        Annotated[str, Meta(description="Counts against the queue's limit per key; default: the kind's.")] | None
    ) = None
    fairness_key: (
        Annotated[str, Meta(description="Takes turns with other keys of its queue and priority; default: the kind's.")]
        | None
    ) = None
    sequence_key: (
        Annotated[
            str, Meta(description="One at a time with all tasks of this key, in the order of commit of their submits.")
        ]
        | None
    ) = None
    sequence_on_failure: (
        Annotated[OnSequenceFailure, Meta(description="What those behind it do if it fails; default: `continue`.")] | None
    ) = None
    depends_on: Annotated[list[UUID], Meta(description="Tasks that must have ended before it starts.")] = []
    on_parent_failure: (
        Annotated[OnParentFailure, Meta(description="If one of these fails or is cancelled; default: `cancel`.")] | None
    ) = None
    meta: Annotated[dict[str, Any], Meta(description="Free facts of the client, kept with the task.")] | None = None


def request_of(request: TaskRequest[Any] | str, args: Any = None, options: Mapping[str, Any] | None = None) -> SubmitRequest:
    """Return what a program asks for: a request of a kind, or the name of a kind and its args, of any type that msgspec knows.

    `options` are those of SubmitRequest by name, and win over those of the request. InputError INVALID_REQUEST says what does not fit.
    """
    told: dict[str, Any] = dict(options or {})
    if isinstance(request, TaskRequest):
        kind, args = request.kind, request.args
        told = {"version": request.version, **request.options, **told}
    else:
        kind, args = request, {} if args is None else msgspec.to_builtins(args)
    try:
        return msgspec.convert({**told, "kind": kind, "args": args}, SubmitRequest)
    except msgspec.ValidationError as error:
        raise InputError(Code.INVALID_REQUEST, field="submit", reason=in_both(str(error))) from error


def refuse(field: str, reason: Words) -> InputError:
    """Return the error of one field that does not fit."""
    return InputError(Code.INVALID_REQUEST, field=field, reason=reason)


def check_request(request: SubmitRequest) -> None:
    """Raise InputError unless everything but kind and args, which need the kinds, is sound."""
    if request.version is not None:
        _check_range("version", request.version, bounds.VERSION)
    if request.queue is not None and not naming.is_queue(request.queue):
        raise refuse("queue", reasons.QUEUE_NAME(limit=c.NAME_MAX_CHARS))
    if request.priority is not None:
        _check_range("priority", request.priority, bounds.PRIORITY)
    _check_times(request)
    if request.tags:
        _check_tags(request.tags)
    if request.max_attempts is not None:
        _check_range("max_attempts", request.max_attempts, bounds.ATTEMPTS)
    if request.timeout_s is not None:
        _check_range("timeout_s", request.timeout_s, bounds.TIMEOUT_S)
    _check_unique(request)
    if request.concurrency_key is not None:
        _check_key("concurrency_key", request.concurrency_key)
    if request.fairness_key is not None:
        _check_key("fairness_key", request.fairness_key)
    found = bad_order(request.sequence_key, request.sequence_on_failure, len(request.depends_on), request.on_parent_failure)
    if found is not None:
        raise refuse(*found)


def _check_unique(request: SubmitRequest) -> None:
    if request.unique_key is not None:
        if isinstance(request.unique, Unique):
            raise refuse("unique_key", reasons.KEY_TWICE)
        if (reason := bad_key(request.unique_key)) is not None:
            raise refuse("unique_key", reason)
    elif isinstance(request.unique, Unique) and (found := request.unique.refusal()) is not None:
        raise refuse(f"unique.{found[0]}", found[1])


def _check_range(field: str, value: float, allowed: Range) -> None:
    if (reason := allowed.refusal(value)) is not None:
        raise refuse(field, reason)


def _check_key(field: str, key: str) -> None:
    if (reason := bad_key(key)) is not None:
        raise refuse(field, reason)


def _check_times(request: SubmitRequest) -> None:
    if request.delay_s is not None and (reason := bad_delay(request.delay_s)) is not None:
        raise refuse("delay_s", reason)
    if request.run_at is not None and request.delay_s is not None:
        raise refuse("delay_s", reasons.RUN_AT_OR_DELAY)
    for field, value in (("run_at", request.run_at), ("expires_at", request.expires_at)):
        if value is not None and value.tzinfo is None:
            raise refuse(field, reasons.NEEDS_ZONE)
        # 驱动读不回年份 0 或 10000：一个这样的任务会让同组提交全部失败
        if value is not None and (reason := bad_moment(value)) is not None:
            raise refuse(field, reason)


def _check_tags(tags: list[str]) -> None:
    if len(tags) > svc.TAGS_MAX:
        raise refuse("tags", reasons.AT_MOST(limit=svc.TAGS_MAX))
    for index, tag in enumerate(tags):
        if not naming.is_tag(tag):
            raise refuse(f"tags[{index}]", reasons.NOT_A_TAG(limit=c.NAME_MAX_CHARS))
