"""One claimed task in a worker, and the pure decision what its end means."""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pydantic
from pydantic_core import to_jsonable_python

from taskmill import constants as c
from taskmill import reasons, strict_json
from taskmill.engine.verdict import Wish, judge
from taskmill.errors import Code, Discard, InputError, Retry, TaskmillError, UnfitError
from taskmill.log import get_logger
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import RetryPolicy, TaskDefinition
from taskmill.states import By, Cause, State
from taskmill.stores.database import Record
from taskmill.stores.tasks.settle import Outcome
from taskmill.stores.why import why
from taskmill.words import Words

log = get_logger(__name__)


class Stop(StrEnum):
    """Why a running attempt was stopped from outside."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    DRAIN = "drain"
    LOST = "lost"


@dataclass(slots=True)
class Attempt:
    """A claimed row until its outcome is settled. `expires` is a monotonic time."""

    row: Record
    definition: TaskDefinition[..., Any]
    worker_id: UUID
    claimed: float
    expires: float
    task: asyncio.Task[None] | None = None
    context: TaskContext | None = None
    stop: Stop | None = None
    halted: Stop | None = None  # 上次为何取消
    halted_at: float | None = None  # 第一次取消的时刻（单调时钟）

    @property
    def key(self) -> tuple[UUID, int]:
        """Return the fence without the worker: (id, claim_no)."""
        return self.row["id"], self.row["claim_no"]

    def halt(self, stop: Stop) -> None:
        """Ask the handler to end; the first reason stands."""
        if self.stop is None:
            self.stop = stop
        if self.context is not None:
            self.context.cancelled = True
        if self.task is not None and self.halted is not stop:
            self.halted = stop
            self.halted_at = self.halted_at or time.monotonic()
            try:
                self.task.cancel()  # 同一个理由只取消一次：反复取消会打断处理函数的清理
            except BaseException as error:  # noqa: BLE001 - 取消会转给它正等着的对象，那可能是处理函数自己的代码
                log.warning("处理函数等着的对象不让取消", task_id=str(self.row["id"]), error=why(error))


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


def completed(attempt: Attempt, result: Any, max_bytes: int) -> Outcome:
    """Return the outcome of a handler that returned; one that JSON cannot hold is a failed attempt."""
    row = attempt.row
    if result is None:
        return Outcome(row["id"], row["claim_no"], attempt.worker_id, State.COMPLETED)
    try:
        raw = _ENCODER.encode(result)
        reason = _unstorable(raw, max_bytes)
    except strict_json.NotJsonError as error:
        raw, reason = b"", error.words
    except Exception as error:  # noqa: BLE001 - 编码会运行用户的代码（如 computed_field）
        raw, reason = b"", str(error) or type(error).__name__
    if reason is not None:
        return failed(attempt, TaskmillError(Code.RESULT_NOT_ENCODABLE, reason=reason))
    return Outcome(row["id"], row["claim_no"], attempt.worker_id, State.COMPLETED, result=raw)


def _unstorable(raw: bytes, max_bytes: int) -> Words | None:
    if len(raw) > max_bytes:
        return reasons.TOO_MANY_BYTES(size=len(raw), limit=max_bytes)
    return reasons.HAS_NUL if b"\\u0000" in raw and _NUL.search(raw) else None


def failed(attempt: Attempt, error: BaseException, *, cause: Cause = Cause.ERROR, words: Words | None = None) -> Outcome:
    """Return the outcome of a handler that raised: snoozed, discarded, or retried while attempts are left."""
    row, policy = attempt.row, attempt.definition.retry
    verdict = judge(error, policy)
    outcome = Outcome(row["id"], row["claim_no"], attempt.worker_id, State.DISCARDED, cause=cause)
    if verdict.wish is Wish.SNOOZE:
        outcome.state, outcome.cause, outcome.attempt_delta = State.SCHEDULED, None, -1
        outcome.delay_s, outcome.run_at = verdict.delay_s or 0.0, verdict.run_at
        return outcome
    describe(outcome, verdict.cause, error if isinstance(error, BaseExceptionGroup) else None, words=words)
    if verdict.wish is Wish.RETRY and row["attempt"] < row["max_attempts"]:
        outcome.state = State.RETRYABLE
        outcome.delay_s = backoff_s(policy, row["attempt"]) if verdict.delay_s is None else verdict.delay_s
    return outcome


def unreadable(attempt: Attempt, words: Words) -> Outcome:
    """Return the outcome of a task whose args can never be decoded: discarded at once, for args do not change."""
    row = attempt.row
    outcome = Outcome(row["id"], row["claim_no"], attempt.worker_id, State.DISCARDED, cause=Cause.ERROR)
    describe(outcome, InputError(Code.ARGS_INVALID, field="args", reason=words, kind=row["kind"]))
    return outcome


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
    row = attempt.row
    last = row["attempt"] >= row["max_attempts"]
    outcome = Outcome(
        row["id"], row["claim_no"], attempt.worker_id, State.DISCARDED if last else State.RETRYABLE, cause=Cause.ERROR
    )
    describe(outcome, TaskmillError(Code.INTERNAL, reason=type(error).__name__))
    outcome.delay_s = 0.0 if last else backoff_s(RetryPolicy(), row["attempt"])
    return outcome


def describe(
    outcome: Outcome, error: BaseException, group: BaseException | None = None, *, words: Words | None = None
) -> None:
    """Write type, message and traceback of `error` into the outcome, scrubbed and cut; the traceback is that of its `group`.

    What is said in both languages stands there in both: `words`, those of an error with a code, those of a `Retry` or `Discard`.
    """
    words = words or _own_words(error)
    outcome.error_type = type(error).__name__
    outcome.message = scrub(words.en if words else _words(error) or type(error).__name__, c.ERROR_MESSAGE_MAX_CHARS)
    outcome.message_zh = scrub(words.zh, c.ERROR_MESSAGE_MAX_CHARS) if words else None
    lines = "".join(traceback.format_exception(group or error))
    outcome.traceback = scrub(lines[-c.TRACEBACK_MAX_CHARS :], c.TRACEBACK_MAX_CHARS)
    outcome.error = error_json(outcome.error_type, outcome.message, outcome.message_zh)


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


def stopped(attempt: Attempt) -> Outcome | None:
    """Return the outcome of an attempt that was stopped from outside; None: the lease is lost, nothing to say."""
    row = attempt.row
    if attempt.stop is Stop.CANCEL:
        outcome = Outcome(row["id"], row["claim_no"], attempt.worker_id, State.CANCELLED, cause=Cause.CANCEL)
        outcome.message, outcome.message_zh = reasons.CANCELLED.en, reasons.CANCELLED.zh
        return outcome
    if attempt.stop is Stop.TIMEOUT:
        words = reasons.TIMED_OUT(seconds=f"{row['timeout_ms'] / 1000:g}")
        return failed(attempt, TimeoutError(words.en), cause=Cause.TIMEOUT, words=words)
    if attempt.stop is Stop.DRAIN:
        return cut_off(row, attempt.worker_id)
    if attempt.stop is Stop.LOST:
        return None
    words = reasons.CANCELLED_ITSELF
    return failed(attempt, asyncio.CancelledError(words.en), words=words)


def handed_back(row: Record, worker_id: UUID) -> Outcome:
    """Return the outcome that gives a row back without counting the attempt."""
    return Outcome(row["id"], row["claim_no"], worker_id, State.AVAILABLE, by=By.HAND_BACK, attempt_delta=-1)


def cut_off(row: Record, worker_id: UUID) -> Outcome:
    """Return the outcome of an attempt that a stopping worker could not let finish: not counted, but recorded."""
    outcome = handed_back(row, worker_id)
    outcome.cause = Cause.DRAIN
    outcome.message, outcome.message_zh = reasons.CUT_OFF.en, reasons.CUT_OFF.zh
    return outcome
