"""Outcomes: what the end of an attempt means. Every outcome is built here; pure but for the encoding of results."""

from __future__ import annotations

import asyncio
import inspect
import random
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pydantic
from msgspec.structs import replace
from pydantic_core import to_jsonable_python

from taskmill import constants as c
from taskmill import reasons, strict_json
from taskmill.engine import constants as ec
from taskmill.engine.attempts.attempt import Attempt, Stop
from taskmill.engine.attempts.verdict import Wish, judge
from taskmill.errors import Code, Discard, InputError, Retry, TaskmillError, UnfitError
from taskmill.log import get_logger
from taskmill.plugin import origin
from taskmill.plugin.definition import RetryPolicy
from taskmill.states import INFRASTRUCTURE, By, Cause, State
from taskmill.stores.tasks.rescue import RunningRow
from taskmill.stores.tasks.settle import Outcome
from taskmill.text.fingerprint import place
from taskmill.words import Words

log = get_logger(__name__)
UNSTORABLE = "ResultNotEncodable"  # task_attempts.error_type
DEATHS = {
    Cause.CRASH: reasons.WORKER_SILENT, Cause.OOM: reasons.OUT_OF_MEMORY, Cause.EVICTED: reasons.EVICTED,
    Cause.DRAIN: reasons.POD_STOPPED, Cause.NODE_LOST: reasons.NODE_LOST,
}  # fmt: skip


class LoopBlockedError(TimeoutError):
    """A handler kept the event loop of its worker for itself."""


def _enc_hook(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Iterator) or inspect.isawaitable(value):
        message = f"{type(value).__name__} is not JSON"
        raise TypeError(message)
    return to_jsonable_python(value)  # pydantic 认得的其他类型：Path、HttpUrl、IPv4Address……


_ENCODER = strict_json.Encoder(_enc_hook)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # 前面的反斜杠成双时才是转义的 NUL，否则只是文字


def scrub(text: str, limit: int) -> str:
    """Return text that PostgreSQL can store: no NUL, no lone surrogates, at most `limit` characters."""
    clean = text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= limit else clean[: limit - len(c.TRUNCATED)] + c.TRUNCATED


def backoff_s(policy: RetryPolicy, attempt: int) -> float:
    """Return the delay after the given failed attempt (1-based), drawn with full jitter."""
    ceiling = min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 60))
    return random.uniform(0, ceiling)  # noqa: S311 - 抖动


def _of(attempt: Attempt, state: State, **fields: Any) -> Outcome:
    row = attempt.row
    return Outcome(
        row["id"],
        row["claim_no"],
        attempt.worker_id,
        state,
        kind=row["kind"],
        home=row["queue"],
        attempt=row["attempt"],
        place=None if row["slot"] is None else (row["queue"], row["concurrency_key"]),
        **fields,
    )


def completed(attempt: Attempt, result: Any, max_bytes: int) -> Outcome:
    """Return the outcome of a handler that returned; one that JSON cannot hold is a failed attempt."""
    if result is None:
        return _of(attempt, State.COMPLETED)
    try:
        raw = _ENCODER.encode(result)
        reason = _unstorable(raw, max_bytes)
    except strict_json.NotJsonError as error:
        raw, reason = b"", error.words
    except Exception as error:  # noqa: BLE001 - 编码会运行用户的代码（如 computed_field）
        raw, reason = b"", str(error) or type(error).__name__
    if reason is not None:
        return failed(attempt, TaskmillError(Code.RESULT_NOT_ENCODABLE, reason=reason))
    return _of(attempt, State.COMPLETED, result=raw)


def _unstorable(raw: bytes, max_bytes: int) -> Words | None:
    if len(raw) > max_bytes:
        return reasons.TOO_MANY_BYTES(size=len(raw), limit=max_bytes)
    return reasons.HAS_NUL if b"\\u0000" in raw and _NUL.search(raw) else None


def failed(attempt: Attempt, error: BaseException, *, cause: Cause = Cause.ERROR, words: Words | None = None) -> Outcome:
    """Return the outcome of a handler that raised: snoozed, discarded, or retried while attempts are left."""
    row, policy = attempt.row, attempt.definition.retry
    verdict = judge(error, policy)
    if verdict.wish is Wish.SNOOZE:
        return _of(attempt, State.SCHEDULED, attempt_delta=-1, delay_s=verdict.delay_s or 0.0, run_at=verdict.run_at)
    told = describe(verdict.cause, error if isinstance(error, BaseExceptionGroup) else None, words=words)
    if verdict.wish is Wish.RETRY and row["attempt"] < row["max_attempts"]:
        delay_s = backoff_s(policy, row["attempt"]) if verdict.delay_s is None else verdict.delay_s
        return _of(attempt, State.RETRYABLE, cause=cause, delay_s=delay_s, **told)
    return _of(attempt, State.DISCARDED, cause=cause, **told)


def unreadable(attempt: Attempt, words: Words) -> Outcome:
    """Return the outcome of a task whose args can never be decoded: discarded at once, for args do not change."""
    error = InputError(Code.ARGS_INVALID, field="args", reason=words, kind=attempt.row["kind"])
    return _of(attempt, State.DISCARDED, cause=Cause.ERROR, **describe(error))


def judged(attempt: Attempt, error: BaseException) -> Outcome | None:
    """Return the outcome of an attempt that ended in `error`, whatever that is; None if the lease is lost. Never raises."""
    try:
        if attempt.stop is not None or isinstance(error, asyncio.CancelledError):
            return stopped(attempt)
        return failed(attempt, error)
    except BaseException as broken:
        log.exception("结局无法得出，记为失败", task_id=str(attempt.row["id"]))
        return unusable(attempt, broken)


def unusable(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome when a result or policy of the handler broke the building of one; runs no user code."""
    row, told = attempt.row, describe(TaskmillError(Code.INTERNAL, reason=type(error).__name__))
    if row["attempt"] >= row["max_attempts"]:
        return _of(attempt, State.DISCARDED, cause=Cause.ERROR, **told)
    return _of(attempt, State.RETRYABLE, cause=Cause.ERROR, delay_s=backoff_s(RetryPolicy(), row["attempt"]), **told)


def stopped(attempt: Attempt) -> Outcome | None:
    """Return the outcome of an attempt that was stopped from outside; None: the lease is lost, nothing to say."""
    if attempt.stop is Stop.CANCEL:
        said = reasons.CANCELLED
        return _of(attempt, State.CANCELLED, cause=Cause.CANCEL, message=said.en, message_zh=said.zh)
    if attempt.stop is Stop.TIMEOUT:
        words = reasons.TIMED_OUT(seconds=f"{attempt.row['timeout_ms'] / 1000:g}")
        return failed(attempt, TimeoutError(words.en), cause=Cause.TIMEOUT, words=words)
    if attempt.stop is Stop.DRAIN:
        return cut_off(attempt)
    if attempt.stop is Stop.LOST:
        return None
    words = reasons.CANCELLED_ITSELF
    return failed(attempt, asyncio.CancelledError(words.en), words=words)


def handed_back(attempt: Attempt) -> Outcome:
    """Return the outcome that gives a row back without counting the attempt."""
    return _of(attempt, State.AVAILABLE, by=By.HAND_BACK, attempt_delta=-1)


def orphaned(task_id: UUID, claim_no: int, worker_id: UUID) -> Outcome:
    """The same for a row of which nothing but its fence is known: the reply to its claim was lost."""
    return Outcome(task_id, claim_no, worker_id, State.AVAILABLE, by=By.HAND_BACK, attempt_delta=-1)


def cut_off(attempt: Attempt) -> Outcome:
    """Return the outcome of an attempt that a stopping worker could not let finish: not counted, but recorded."""
    said = reasons.CUT_OFF
    return replace(handed_back(attempt), cause=Cause.DRAIN, message=said.en, message_zh=said.zh)


def blocking(attempt: Attempt, silent_s: float, where: str, stack: str) -> Outcome:
    """Return the outcome of a handler that kept the event loop for itself: a failed attempt that says where it stands."""
    words = reasons.BLOCKED_LOOP(seconds=f"{silent_s:g}", where=where)
    outcome = failed(attempt, LoopBlockedError(words.en), cause=Cause.TIMEOUT, words=words)
    file, _, function = where.rpartition(" ")
    frame = place(file.rpartition(":")[0], function)
    return replace(outcome, frame=frame, traceback=scrub(stack[-ec.TRACEBACK_MAX_CHARS :], ec.TRACEBACK_MAX_CHARS))


def shut_out(attempt: Attempt) -> Outcome:
    """Return the outcome of an attempt whose loop another one keeps: not counted, but recorded."""
    said = reasons.SHUT_OUT
    return replace(handed_back(attempt), cause=Cause.DRAIN, message=said.en, message_zh=said.zh)


def unstorable(outcome: Outcome, error: Exception) -> Outcome:
    """Return what takes the place of an outcome that PostgreSQL refused: a failure that says so."""
    told = describe(TaskmillError(Code.RESULT_NOT_ENCODABLE, reason=type(error).__name__)) | {"error_type": UNSTORABLE}
    return replace(outcome, state=State.DISCARDED, cause=Cause.ERROR, result=None, **told)


def taken_back(row: RunningRow) -> Outcome:
    """Return the outcome of a row whose worker is gone: the attempt does not count (invariant 8).

    A crash and the want of memory raise the crash count, infrastructure does not. A suspect runs alone; only if it did
    may its count reach the budget, so that a bystander of a poison pill survives.
    """
    cause = row.cause or Cause.CRASH
    crashed = row.cause is not None and cause not in INFRASTRUCTURE and (row.crash_count < c.SUSPECT_FROM or row.held == 1)
    if row.cancelling:
        state = State.CANCELLED
    else:
        state = State.DISCARDED if row.crash_count + crashed >= c.CRASH_BUDGET else State.AVAILABLE
    moved = state is State.AVAILABLE and cause is Cause.OOM and row.on_oom_queue != row.queue
    made = replace(
        _rescued(row, state, cause, "WorkerLost", DEATHS.get(cause, reasons.SAID(words=cause.value))),
        crash_delta=int(crashed),
        attempt_delta=-1 if state is State.AVAILABLE else 0,
        queue=row.on_oom_queue if moved else None,
    )
    # 它自己停下的，不是崩溃，也不留失败记录
    return replace(made, cause=None, error=None) if row.cause is None else made


def timed_out(row: RunningRow) -> Outcome:
    """Return the outcome of a row that a living worker did not end in time: it counts as an attempt."""
    if row.cancelling or row.attempt >= row.max_attempts:
        state, delay_s = State.CANCELLED if row.cancelling else State.DISCARDED, 0.0
    else:
        state, delay_s = State.RETRYABLE, backoff_s(RetryPolicy(), row.attempt)
    return replace(_rescued(row, state, Cause.TIMEOUT, "TimeoutError", reasons.OVERDUE), delay_s=delay_s)


def _rescued(row: RunningRow, state: State, cause: Cause, error_type: str, words: Words) -> Outcome:
    return Outcome(
        row.id,
        row.claim_no,
        row.worker_id,
        state,
        by=By.RESCUE,
        cause=cause,
        error_type=error_type,
        message=words.en,
        message_zh=words.zh,
        error=error_json(error_type, words.en, words.zh),
        kind=row.kind,
        home=row.queue,
        attempt=row.attempt,
        place=None if row.slot is None else (row.queue, row.concurrency_key),
    )


def describe(error: BaseException, group: BaseException | None = None, *, words: Words | None = None) -> dict[str, Any]:
    """Return type, message and traceback of `error` for an outcome, scrubbed and cut; the traceback is that of its `group`.

    What is said in both languages stands there in both: `words`, those of an error with a code, those of a `Retry` or `Discard`.
    """
    words = words or _own_words(error)
    name = type(error).__name__
    message = scrub(words.en if words else _words(error) or name, c.ERROR_MESSAGE_MAX_CHARS)
    chinese = scrub(words.zh, c.ERROR_MESSAGE_MAX_CHARS) if words else None
    lines = origin.story(group or error)
    return {
        "error_type": name,
        "message": message,
        "message_zh": chinese,
        "frame": scrub(origin.frame(error) or (origin.frame(group) if group else ""), ec.FRAME_MAX_CHARS),
        "traceback": scrub(lines[-ec.TRACEBACK_MAX_CHARS :], ec.TRACEBACK_MAX_CHARS),
        "error": error_json(name, message, chinese),
    }


def error_json(kind: str, message: str, chinese: str | None = None) -> bytes:
    """Return what stands in the `error` of a task; `message_zh` only where its author wrote it in both languages."""
    return msgspec.json.encode({"type": kind, "message": message} | ({"message_zh": chinese} if chinese else {}))


def _own_words(error: BaseException) -> Words | None:
    if isinstance(error, (TaskmillError, UnfitError)):
        return error.words
    return error.reason if isinstance(error, (Retry, Discard)) and isinstance(error.reason, Words) else None


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - 异常自己的 __str__ 也会出错，甚至抛 SystemExit，那也不能弄丢这次尝试
        return f"{type(error).__name__}.__str__: {type(broken).__name__}"
