"""What an exception of a handler asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from taskmill import constants as c
from taskmill.engine.attempts.verdict import Wish, judge
from taskmill.errors import Code, Discard, Retry, Snooze, TaskmillError
from taskmill.plugin.definition import RetryPolicy

ANY = RetryPolicy()
NO_VALUES = RetryPolicy(discard_on=(ValueError,))
ONLY_OS = RetryPolicy(retry_on=(OSError,))


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("in a TaskGroup", errors)


@pytest.mark.parametrize("make", [lambda value: Retry(after=value), lambda value: Snooze(after=value)])
@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), -5, 1.8e12, 1e12, c.DELAY_MAX_S + 1, "5m", True],
)
@pytest.mark.parametrize("wrap", [False, True])
def test_a_delay_out_of_bounds_is_a_failed_attempt_in_words(make: Any, value: Any, wrap: bool) -> None:
    error = make(value)
    verdict = judge(group(error) if wrap else error, ANY)
    assert (verdict.wish, verdict.delay_s, verdict.run_at) == (Wish.RETRY, None, None)
    assert isinstance(verdict.cause, TaskmillError)
    assert verdict.cause.code is Code.DELAY_INVALID
    assert verdict.cause.details["field"] == f"{type(error).__name__}.after"


@pytest.mark.parametrize(
    "value",
    [
        datetime.max,  # noqa: DTZ901 - 处理函数就会这样写
        datetime.min,  # noqa: DTZ901 - 处理函数就会这样写
        datetime(3000, 1, 1, tzinfo=UTC),
        "tomorrow",
        5,
    ],
)
def test_a_moment_out_of_bounds_is_a_failed_attempt_in_words(value: Any) -> None:
    verdict = judge(Snooze(until=value), ANY)
    assert verdict.wish is Wish.RETRY
    assert isinstance(verdict.cause, TaskmillError)
    assert verdict.cause.code is Code.DELAY_INVALID


def test_the_bounds_of_a_delay_are_those_of_a_submit() -> None:
    assert judge(Retry(after=c.DELAY_MAX_S), ANY).delay_s == c.DELAY_MAX_S
    assert judge(Snooze(after=0), ANY).delay_s == 0
    assert judge(Snooze(until=datetime(2999, 1, 1)), ANY).run_at == datetime(2999, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "policy", "wish", "delay_s", "cause"),
    [
        (group(Discard("bad input")), ANY, Wish.DISCARD, None, Discard),
        (group(group(Discard("deep"))), ANY, Wish.DISCARD, None, Discard),
        (group(Retry(after=60)), ANY, Wish.RETRY, 60, Retry),
        (group(Snooze(after=5)), ANY, Wish.SNOOZE, 5, Snooze),
        (group(Snooze(after=5), Snooze(after=9)), ANY, Wish.SNOOZE, 9, Snooze),
        (group(Snooze(after=5), Retry(after=60)), ANY, Wish.RETRY, 60, Retry),
        (group(Snooze(after=5), OSError("x")), ANY, Wish.RETRY, None, OSError),
        (group(OSError("x"), Retry(after=7), Retry(after=3)), ANY, Wish.RETRY, 7, Retry),
        (group(Retry(after=60), Discard()), ANY, Wish.DISCARD, None, Discard),
        (group(OSError("x"), ValueError("x")), NO_VALUES, Wish.DISCARD, None, ValueError),
        (group(OSError("x"), KeyError("x")), ONLY_OS, Wish.DISCARD, None, KeyError),
        (group(OSError("x"), OSError("y")), ONLY_OS, Wish.RETRY, None, OSError),
        (group(KeyError("x")), RetryPolicy(retry_on=(BaseExceptionGroup,)), Wish.RETRY, None, KeyError),
        (group(KeyError("x")), RetryPolicy(discard_on=(BaseExceptionGroup,)), Wish.DISCARD, None, BaseExceptionGroup),
        (group(SystemExit(1)), ANY, Wish.RETRY, None, SystemExit),
    ],
)  # fmt: skip
def test_a_group_is_judged_by_its_members_and_the_most_final_wins(
    error: BaseException, policy: RetryPolicy, wish: Wish, delay_s: float | None, cause: type[BaseException]
) -> None:
    verdict = judge(error, policy)
    assert (verdict.wish, verdict.delay_s) == (wish, delay_s)
    assert isinstance(verdict.cause, cause)


def test_groups_may_be_nested_deeper_than_python_recurses() -> None:
    error: BaseException = Discard()
    for _ in range(5_000):
        error = group(error)
    assert judge(error, ANY).wish is Wish.DISCARD
