"""One line for each attempt that failed, one for each task that was discarded, and counts of all that ended."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine.periodic.scheduler import SchedulerHealth
from taskmill.engine.tally import Tally
from taskmill.engine.telemetry import WorkerTelemetry
from taskmill.ids import new_id
from taskmill.states import By, Cause, State
from taskmill.stores.tasks.settle import Outcome
from tests.support.logs import captured


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return captured(monkeypatch, "taskmill.engine.tally")


def outcome(state: State, cause: Cause | None = None, **fields: Any) -> Outcome:
    told = {"error_type": "ValueError" if cause else None, "kind": "demo.echo", "home": "mail", "attempt": 2}
    return Outcome(new_id(), 1, new_id(), state, cause=cause, **told, **fields)


@pytest.mark.parametrize(
    ("ended", "levels", "label"),
    [
        (outcome(State.COMPLETED), [], ("completed", "")),
        (outcome(State.RETRYABLE, Cause.ERROR, delay_s=3.14159), ["warning"], ("retryable", "error")),
        (outcome(State.RETRYABLE, Cause.TIMEOUT), ["warning"], ("retryable", "timeout")),
        (outcome(State.DISCARDED, Cause.ERROR), ["warning", "error"], ("discarded", "error")),
        (outcome(State.DISCARDED, Cause.CRASH, by=By.RESCUE), ["warning", "error"], ("discarded", "crash")),
        (outcome(State.AVAILABLE, Cause.CRASH, by=By.RESCUE), ["warning"], ("rescued", "crash")),
        (outcome(State.AVAILABLE, Cause.EVICTED, by=By.RESCUE), [], ("rescued", "evicted")),
        (outcome(State.AVAILABLE, by=By.HAND_BACK), [], ("handed_back", "")),
        (outcome(State.AVAILABLE, Cause.DRAIN, by=By.HAND_BACK), [], ("handed_back", "drain")),
        (outcome(State.SCHEDULED), [], ("snoozed", "")),
        (outcome(State.CANCELLED, Cause.CANCEL), [], ("cancelled", "cancel")),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, tuple) else "",
)
def test_lines_and_counts(lines: list[Any], ended: Outcome, levels: list[str], label: tuple[str, str]) -> None:
    tally = Tally()
    tally.note([ended], {ended.id: ended.state})
    assert [line["log_level"] for line in lines] == levels
    assert tally.counts == {("demo.echo", "mail", *label): 1}
    for line in lines:
        assert (line["task_id"], line["kind"], line["queue"], line["attempt"]) == (str(ended.id), "demo.echo", "mail", 2)
        assert (line["cause"], line["error"]) == (label[1], "ValueError")
    if levels:
        assert lines[0]["next"] == ended.state.value
    if ended.delay_s:
        assert lines[0]["delay_s"] == 3.1


def test_the_state_that_the_task_got_counts_and_not_the_one_that_was_asked_for(lines: list[Any]) -> None:
    """A task that was asked to cancel ends cancelled instead of waiting for its next attempt."""
    tally, ended = Tally(), outcome(State.RETRYABLE, Cause.ERROR)
    tally.note([ended], {ended.id: State.CANCELLED})
    assert (lines, tally.counts) == ([], {("demo.echo", "mail", "cancelled", "error"): 1})


def test_what_was_not_written_is_neither_told_nor_counted(lines: list[Any]) -> None:
    tally = Tally()
    tally.note([outcome(State.DISCARDED, Cause.ERROR)], {})
    assert (lines, tally.counts) == ([], {})


def test_a_message_is_one_short_printable_line(lines: list[Any]) -> None:
    ended = outcome(State.RETRYABLE, Cause.ERROR, message="bad\n\tline \x1b[2J\x00" + "x" * 2 * ec.LOG_MESSAGE_MAX_CHARS)
    Tally().note([ended], {ended.id: ended.state})
    message = lines[0]["message"]
    assert message.startswith("bad line \N{REPLACEMENT CHARACTER}[2J")
    assert message.isprintable()
    assert len(message) == ec.LOG_MESSAGE_MAX_CHARS + len(c.TRUNCATED)


def test_the_number_of_labels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ec, "TALLY_MAX", 3)
    tally = Tally()
    for number in range(10):
        ended = replace(outcome(State.COMPLETED), home=f"queue{number}")
        tally.note([ended], {ended.id: ended.state})
    assert len(tally.counts) == 4
    assert tally.counts["other", "other", "completed", ""] == 7


def test_the_counts_are_metrics_of_workers_and_schedulers(lines: list[Any]) -> None:
    tally = Tally()
    ended = outcome(State.DISCARDED, Cause.ERROR)
    tally.note([ended], {ended.id: ended.state})
    tally.expired(new_id(), "demo.echo", "mail", 0)
    worker = WorkerTelemetry(dict, lambda: tally.counts).render().decode()
    scheduler = SchedulerHealth([], tally).answer("/metrics")[1].decode()
    for text in (worker, scheduler):
        for cause in ("error", "expired"):
            assert (
                f'taskmill_attempts_total{{cause="{cause}",kind="demo.echo",outcome="discarded",queue="mail"}} 1.0' in text
            )
    assert [line["log_level"] for line in lines] == ["warning", "error", "error"]
