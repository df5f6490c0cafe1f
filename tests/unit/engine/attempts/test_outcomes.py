"""What the end of an attempt means: pure decisions, no servers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine.attempts.attempt import Attempt, Stop
from taskmill.engine.attempts.outcomes import backoff_s, completed, failed, handed_back, judged, scrub, stopped
from taskmill.errors import Discard, Retry, Snooze
from taskmill.ids import new_id
from taskmill.plugin.definition import RetryPolicy, TaskDefinition, task
from taskmill.states import By, Cause, State
from taskmill.words import Words

LIMIT = 1_000


def attempt(number: int = 1, of: int = 3, *, retry: RetryPolicy | None = None) -> Attempt:
    @task("test.any", retry=retry)
    async def handler() -> None: ...

    definition: TaskDefinition = handler
    row: Any = {
        "id": new_id(),
        "claim_no": number,
        "attempt": number,
        "kind": "test.any",
        "queue": "default",
        "max_attempts": of,
        "timeout_ms": 1_500,
        "crash_count": 0,
        "slot": None,
        "concurrency_key": None,
    }
    return Attempt(row, definition, new_id(), 0.0, 0.0)


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class ExitingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class InterruptingError(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Model(pydantic.BaseModel):
    at: datetime


@dataclass
class Point:
    x: int


@given(
    base=st.floats(0, 1e6),
    top=st.floats(0, 1e6),
    number=st.integers(1, 1_000),
)
def test_backoff_is_drawn_within_its_bounds(base: float, top: float, number: int) -> None:
    delay = backoff_s(RetryPolicy(base_delay=base, max_delay=top), number)
    assert 0 <= delay <= min(top, base * 2.0 ** min(number - 1, 60)) + 1e-9


def test_backoff_uses_the_whole_range() -> None:
    drawn = [backoff_s(RetryPolicy(base_delay=8, max_delay=100), 1) for _ in range(400)]
    assert min(drawn) < 2
    assert max(drawn) > 6


@pytest.mark.parametrize(
    ("result", "stored"),
    [
        (None, None),
        ({"a": [1, "二"]}, {"a": [1, "二"]}),
        (Point(3), {"x": 3}),
        (Model(at=datetime(2026, 1, 1, tzinfo=UTC)), {"at": "2026-01-01T00:00:00Z"}),
        ("a backslash: \\u0000", "a backslash: \\u0000"),
        ("x" * (LIMIT - 2), "x" * (LIMIT - 2)),
    ],
)
def test_a_result_is_stored_as_json(result: Any, stored: Any) -> None:
    outcome = completed(attempt(), result, LIMIT)
    assert outcome.state is State.COMPLETED
    assert (None if outcome.result is None else msgspec.json.decode(outcome.result)) == stored


def _endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "result",
    [object(), "\x00", {"k\x00": 1}, "\ud800", "x" * (LIMIT - 1), _endless(), lambda: None, {"deep": ["\\\x00"]}],
    ids=["object", "nul", "nul-key", "surrogate", "too-large", "endless", "function", "nul-after-backslash"],
)
def test_a_result_that_cannot_be_stored_is_a_failed_attempt(result: Any) -> None:
    outcome = completed(attempt(), result, LIMIT)
    assert (outcome.state, outcome.cause) == (State.RETRYABLE, Cause.ERROR)
    assert outcome.result is None
    assert outcome.message


@pytest.mark.parametrize(
    ("error", "number", "retry", "state"),
    [
        (ValueError("x"), 1, None, State.RETRYABLE),
        (ValueError("x"), 2, None, State.RETRYABLE),
        (ValueError("x"), 3, None, State.DISCARDED),
        (Discard("never"), 1, None, State.DISCARDED),
        (Retry(), 1, None, State.RETRYABLE),
        (Retry(after=1), 3, None, State.DISCARDED),
        (KeyError("x"), 1, RetryPolicy(retry_on=(ValueError,)), State.DISCARDED),
        (ValueError("x"), 1, RetryPolicy(retry_on=(ValueError,)), State.RETRYABLE),
        (ValueError("x"), 1, RetryPolicy(discard_on=(ValueError,)), State.DISCARDED),
        (Retry(after=1), 1, RetryPolicy(retry_on=(ValueError,)), State.RETRYABLE),
        (SystemExit(1), 1, None, State.RETRYABLE),
        (SilentError(), 1, None, State.RETRYABLE),
        (ExitingError(), 1, None, State.RETRYABLE),
        (InterruptingError(), 3, None, State.DISCARDED),
        (GeneratorExit(), 1, None, State.RETRYABLE),
    ],
)
def test_failed(error: BaseException, number: int, retry: RetryPolicy | None, state: State) -> None:
    outcome = failed(attempt(number, retry=retry), error)
    assert (outcome.state, outcome.cause, outcome.attempt_delta) == (state, Cause.ERROR, 0)
    assert outcome.error_type == type(error).__name__
    assert outcome.message
    assert outcome.error is not None
    assert msgspec.json.decode(outcome.error)["type"] == type(error).__name__


def test_retry_names_its_own_delay() -> None:
    assert failed(attempt(), Retry(after=90)).delay_s == 90


@pytest.mark.parametrize(
    ("snooze", "delay_s", "run_at"),
    [
        (Snooze(after=7), 7, None),
        (Snooze(until=datetime(2026, 1, 1, tzinfo=UTC)), 0, datetime(2026, 1, 1, tzinfo=UTC)),
        (Snooze(until=datetime(2026, 1, 1)), 0, datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_snooze_refunds_the_attempt_even_on_the_last(snooze: Snooze, delay_s: float, run_at: datetime | None) -> None:
    outcome = failed(attempt(3, of=3), snooze)
    assert (outcome.state, outcome.attempt_delta, outcome.cause) == (State.SCHEDULED, -1, None)
    assert (outcome.delay_s, outcome.run_at) == (delay_s, run_at)


@pytest.mark.parametrize(
    ("stop", "state", "cause", "delta"),
    [
        (Stop.CANCEL, State.CANCELLED, Cause.CANCEL, 0),
        (Stop.TIMEOUT, State.RETRYABLE, Cause.TIMEOUT, 0),
        (Stop.DRAIN, State.AVAILABLE, Cause.DRAIN, -1),
        (None, State.RETRYABLE, Cause.ERROR, 0),
    ],
)
def test_stopped(stop: Stop | None, state: State, cause: Cause | None, delta: int) -> None:
    halted = attempt()
    halted.stop = stop
    outcome = stopped(halted)
    assert outcome is not None
    assert (outcome.state, outcome.cause, outcome.attempt_delta) == (state, cause, delta)


def test_invariant_3_an_attempt_whose_lease_is_lost_says_nothing() -> None:
    lost = attempt()
    lost.stop = Stop.LOST
    assert stopped(lost) is None


def test_a_timeout_on_the_last_attempt_discards() -> None:
    late = attempt(3, of=3)
    late.stop = Stop.TIMEOUT
    outcome = stopped(late)
    assert outcome is not None
    assert (outcome.state, outcome.cause) == (State.DISCARDED, Cause.TIMEOUT)
    assert "1.5" in str(outcome.message)


class OddMeta(type):
    def __instancecheck__(cls, _: object) -> bool:
        raise SystemExit


class OddError(Exception, metaclass=OddMeta):
    pass


@pytest.mark.parametrize(
    ("error", "stop", "kind"),
    [
        (ValueError("x"), None, "ValueError"),
        (GeneratorExit(), None, "GeneratorExit"),
        (asyncio.CancelledError(), None, "CancelledError"),
        (GeneratorExit(), Stop.TIMEOUT, "TimeoutError"),
        (ValueError("x"), Stop.DRAIN, None),
    ],
)
def test_whatever_ends_an_attempt_there_is_an_outcome(error: BaseException, stop: Stop | None, kind: str | None) -> None:
    ended = attempt()
    ended.stop = stop
    outcome = judged(ended, error)
    assert outcome is not None
    assert outcome.error_type == kind


def test_an_outcome_that_cannot_be_made_is_a_failed_attempt() -> None:
    """A policy that looks at the error runs code of the handler's author, and that may do anything."""
    outcome = judged(attempt(retry=RetryPolicy(discard_on=(OddError,))), ValueError("x"))
    assert outcome is not None
    assert (outcome.state, outcome.cause) == (State.RETRYABLE, Cause.ERROR)


def test_the_first_reason_to_stop_stands() -> None:
    halted = attempt()
    halted.halt(Stop.CANCEL)
    halted.halt(Stop.TIMEOUT)
    assert halted.stop is Stop.CANCEL


def test_invariant_8_a_hand_back_refunds_the_attempt() -> None:
    one = attempt()
    outcome = handed_back(one)
    assert (outcome.state, outcome.attempt_delta, outcome.by, outcome.cause) == (State.AVAILABLE, -1, By.HAND_BACK, None)


@given(st.text(alphabet=st.characters(codec=None), max_size=200), st.integers(20, 100))
def test_scrubbed_text_can_be_stored_and_is_short(text: str, limit: int) -> None:
    clean = scrub(text, limit)
    assert "\x00" not in clean
    assert len(clean) <= limit
    clean.encode()


def test_long_tracebacks_keep_their_end() -> None:
    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        message = "x" * (2 * ec.TRACEBACK_MAX_CHARS)
        raise ValueError(message)

    with pytest.raises(ValueError, match="x") as caught:
        dive(3)
    outcome = failed(attempt(), caught.value)
    assert outcome.traceback is not None
    assert len(outcome.traceback) <= ec.TRACEBACK_MAX_CHARS
    assert len(str(outcome.message)) == c.ERROR_MESSAGE_MAX_CHARS


BUSY = Words("忙：{n}", "busy: {n}")(n=7)


@pytest.mark.parametrize(
    ("stop", "error", "english", "chinese"),
    [
        (Stop.TIMEOUT, None, "timed out after 1.5 s", "超时 1.5 秒"),
        (Stop.CANCEL, None, "cancelled while running", "运行中被取消"),
        (Stop.DRAIN, None, "the worker stopped before it ended", "工作进程停机时尚未结束"),
        (None, asyncio.CancelledError(), "the handler cancelled itself", "处理函数取消了自己"),
        (None, Retry("坏了", after=-1), "DELAY_INVALID ", "DELAY_INVALID "),
        (None, Retry(BUSY), "busy: 7", "忙：7"),
        (None, Discard(BUSY), "busy: 7", "忙：7"),
        (None, Discard("坏了 / broken"), "坏了 / broken", None),
        (None, ValueError("坏了 / broken"), "坏了 / broken", None),
    ],
)
def test_what_the_engine_says_is_stored_in_both_languages_and_what_a_handler_says_as_it_is(
    stop: Stop | None, error: BaseException | None, english: str, chinese: str | None
) -> None:
    ended = attempt()
    ended.stop = stop
    outcome = judged(ended, error or asyncio.CancelledError())
    assert outcome is not None
    assert (outcome.message or "").startswith(english)
    assert (outcome.message_zh is None) if chinese is None else (outcome.message_zh or "").startswith(chinese)
    if outcome.error is not None:
        stored = msgspec.json.decode(outcome.error)
        assert (stored["message"], stored.get("message_zh")) == (outcome.message, outcome.message_zh)
