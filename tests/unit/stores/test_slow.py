"""Slow statements: told by their name in the code, and not again and again."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.clock import FakeClock
from taskmill.stores import constants as sc
from taskmill.stores.slow import SlowLog, named
from taskmill.stores.tasks import claim, settle
from tests.support.logs import captured

LIMIT_S = 0.1


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return captured(monkeypatch, "taskmill.stores.slow")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (claim.CLAIM, "tasks.claim.CLAIM"),
        (settle.FINISH, "tasks.settle.FINISH"),
        ("select 1\n  from  x", "select 1 from x"),
        ("x" * 1_000, "x" * sc.SLOW_NAME_MAX),
        ("/* tasks.lists: page by queue */ select 1", "tasks.lists: page by queue"),
    ],
)
def test_a_statement_has_the_name_of_the_constant_that_holds_it(query: str, name: str) -> None:
    assert named(query) == name


@pytest.mark.parametrize(("took_s", "lines"), [(LIMIT_S - 0.001, 0), (LIMIT_S, 1)])
def test_a_statement_is_told_from_the_limit_on(told: list[Any], took_s: float, lines: int) -> None:
    SlowLog(LIMIT_S).note(claim.CLAIM, took_s)
    assert [(line["event"], line["statement"]) for line in told] == [("语句慢", "tasks.claim.CLAIM")] * lines


def test_the_same_statement_is_told_once_in_a_while_and_then_with_what_came_between(told: list[Any]) -> None:
    clock = FakeClock()
    slow = SlowLog(LIMIT_S, clock.monotonic)
    for took_s in (0.2, 3.0, 0.3):
        slow.note(claim.CLAIM, took_s)
    slow.note(settle.FINISH, 0.4)
    clock.advance(sc.SLOW_REPEAT_S)
    slow.note(claim.CLAIM, 0.5)
    clock.advance(sc.SLOW_REPEAT_S)
    slow.note(claim.CLAIM, 0.6)
    seen = [(line["statement"], line["took_ms"], line.get("more"), line.get("most_ms")) for line in told]
    assert seen == [
        ("tasks.claim.CLAIM", 200, None, None),
        ("tasks.settle.FINISH", 400, None, None),
        ("tasks.claim.CLAIM", 500, 2, 3000),
        ("tasks.claim.CLAIM", 600, None, None),
    ]


def test_statements_without_a_name_are_forgotten_before_they_fill_the_memory(told: list[Any]) -> None:
    """The oldest is then told again, though its time is not over."""
    slow = SlowLog(LIMIT_S, FakeClock().monotonic)
    for number in (*range(sc.SLOW_NAMES_MAX + 1), 0):
        slow.note(f"select {number}", 1.0)
    assert [line["statement"] for line in told].count("select 0") == 2
