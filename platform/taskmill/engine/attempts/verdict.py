"""What an exception of a handler asks for: pure, no attempt, no database.

A group of exceptions (`asyncio.TaskGroup`) is judged by its members, each as if it had been raised alone; the most final
judgement wins: discard, then retry, then snooze. Of several delays the longest counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from taskmill.bounds import bad_delay, bad_moment
from taskmill.errors import Code, Discard, Retry, Snooze, TaskmillError
from taskmill.plugin.definition import RetryPolicy


class Wish(IntEnum):
    """What shall become of the attempt, the least final first."""

    SNOOZE = 0
    RETRY = 1
    DISCARD = 2


@dataclass(slots=True)
class Verdict:
    """`delay_s` None: the backoff of the kind. `cause` is the exception that decided."""

    wish: Wish
    cause: BaseException
    delay_s: float | None = None
    run_at: datetime | None = None


def judge(error: BaseException, policy: RetryPolicy) -> Verdict:
    """Return what `error` asks for; a delay or moment out of bounds is a failure with code DELAY_INVALID."""
    if not isinstance(error, BaseExceptionGroup):
        return _one(error, policy)
    if isinstance(error, policy.discard_on):
        return Verdict(Wish.DISCARD, error)
    if policy.retry_on and isinstance(error, policy.retry_on):
        policy = RetryPolicy(discard_on=policy.discard_on)  # 组本身可以重试，成员只看有没有要丢弃的
    verdicts = [_one(member, policy) for member in _members(error)]
    wish = max(verdict.wish for verdict in verdicts)
    return max((verdict for verdict in verdicts if verdict.wish is wish), key=_later)


def _one(error: BaseException, policy: RetryPolicy) -> Verdict:
    if isinstance(error, Snooze):
        field, value = ("Snooze.after", error.after) if error.until is None else ("Snooze.until", error.until)
        reason = bad_delay(value) if error.until is None else bad_moment(value)
        if reason is not None:
            return _failed(_impossible(error, field, reason), policy)
        return Verdict(Wish.SNOOZE, error, delay_s=error.after or 0.0, run_at=_aware(error.until))
    if isinstance(error, Retry):
        if error.after is not None and (reason := bad_delay(error.after)) is not None:
            return _failed(_impossible(error, "Retry.after", reason), policy)
        return Verdict(Wish.RETRY, error, delay_s=error.after)
    return Verdict(Wish.DISCARD, error) if isinstance(error, Discard) else _failed(error, policy)


def _failed(error: BaseException, policy: RetryPolicy) -> Verdict:
    return Verdict(Wish.RETRY if policy.retries(error) else Wish.DISCARD, error)


def _impossible(error: BaseException, field: str, reason: object) -> TaskmillError:
    wrong = TaskmillError(Code.DELAY_INVALID, field=field, reason=reason)
    wrong.__cause__ = error
    return wrong


def _members(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """组里套组也摊平；不递归：层数由处理函数决定。"""
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop()
        if isinstance(error, BaseExceptionGroup):
            todo += reversed(error.exceptions)
        else:
            yield error


def _later(verdict: Verdict) -> tuple[float, float]:
    return (verdict.run_at.timestamp() if verdict.run_at else 0.0, verdict.delay_s or 0.0)


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
