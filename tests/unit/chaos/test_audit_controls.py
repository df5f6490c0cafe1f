"""The audit of limits, unique keys and order can fail, and excuses only what ran on with its lease lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.driver import audit_controls
from tests.chaos.driver.controls import LIMITED, MOST
from tests.chaos.driver.facts import Facts
from tests.chaos.driver.roles import Life

PID = 100


def ran(task_id: str, begin: float, end: float | None, claim: int = 1) -> list[dict[str, Any]]:
    facts = {"id": task_id, "claim": claim, "pid": PID, "kind": "chaos.short"}
    start = {"event": "start", "mono": begin, **facts}
    return [start] if end is None else [start, {"event": "end", "mono": end, "how": "ok", **facts}]


def row(task_id: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "queue": LIMITED, "concurrency_key": None, "unique_key": None, **more}


def facts(rows: list[dict[str, Any]], *lines: list[dict[str, Any]]) -> Facts:
    found = sorted((line for each in lines for line in each), key=lambda line: line["mono"])
    return Facts(lines=found, history=rows, workers=[{"id": "w", "pid": PID, "dead_at": None}])


def crowd(count: int, **keys: Any) -> Facts:
    names = [f"t{n}" for n in range(count)]
    return facts([row(name, **keys) for name in names], *(ran(name, 1.0 + n / 100, 5.0) for n, name in enumerate(names)))


DUPLICATE = {"event": "duplicate", "id": "a", "key": "k", "kind": "chaos.short", "mono": 1.0}
PAIR = [row("a", queue="other", sequence_key="s", sequence_no=1), row("b", queue="other", sequence_key="s", sequence_no=2)]
STOPPED = [row("a", queue="other", sequence_key="s", sequence_no=1, sequence_stop=True, state="discarded"), PAIR[1]]
SKIP = {"event": "skip-asked", "id": "a", "mono": 2.5}
CHILD = {"event": "depends", "id": "b", "parents": ["a"], "mono": 0.5}
RETRY = {"event": "retry-asked", "id": "a", "mono": 2.5}
LONE = [row("a", queue="other"), row("b", queue="other")]
BROKEN: list[tuple[str, Facts, set[str]]] = [
    ("too many of a queue", crowd(MOST + 1), {"limits hold"}),
    ("two of one key", crowd(2, concurrency_key="k"), {"limits hold"}),
    ("two of one unique key", crowd(2, queue="other", unique_key="k"), {"a unique key runs once at a time"}),
    ("a killed one whose process lives", facts([row("a", concurrency_key="k"), row("b", concurrency_key="k")], ran("a", 1, None), ran("b", 9, 10)), {"limits hold"}),
    ("two of one sequence", facts(PAIR, ran("a", 1, 3), ran("b", 2, 4)), {"a sequence runs one at a time"}),
    ("one overtakes", facts(PAIR, ran("a", 3, 4), ran("b", 1, 2)), {"sequences never overtake"}),
    ("a second try comes after the next", facts(PAIR, ran("a", 1, 2), ran("b", 3, 4), ran("a", 5, 6, claim=2)), {"sequences never overtake"}),
    ("one goes past a stop", facts(STOPPED, ran("a", 1, 2), ran("b", 3, 4)), {"a stopped sequence waits"}),
    ("one goes past a stop before it is skipped", facts(STOPPED, ran("a", 1, 2), ran("b", 2.2, 2.4), [SKIP]), {"a stopped sequence waits"}),
    ("a child comes before its parent", facts(LONE, [CHILD], ran("b", 1, 2), ran("a", 3, 4)), {"children wait for their parents"}),
    ("an answer names another", Facts(lines=[DUPLICATE], history=[row("a", unique_key="other")]), {"duplicates name the holder"}),
]  # fmt: skip
SOUND: list[tuple[str, Facts]] = [
    ("as many as may", crowd(MOST)),
    ("another queue", crowd(MOST + 1, queue="other")),
    ("one after the other", facts([row("a", concurrency_key="k"), row("b", concurrency_key="k")], ran("a", 1, 2), ran("b", 2, 3))),
    ("two keys", facts([row("a", concurrency_key="k"), row("b", concurrency_key="l")], ran("a", 1, 3), ran("b", 2, 3))),
    ("in order", facts(PAIR, ran("a", 1, 2), ran("a", 3, 4, claim=2), ran("b", 5, 6))),
    ("retried by hand", facts(PAIR, ran("a", 1, 2), [RETRY], ran("b", 3, 4), ran("a", 5, 6, claim=2))),
    ("after a skip", facts(STOPPED, ran("a", 1, 2), [SKIP], ran("b", 3, 4))),
    ("a child after its parent", facts(LONE, [CHILD], ran("a", 1, 2), ran("b", 3, 4))),
    ("the holder is named", Facts(lines=[DUPLICATE], history=[row("a", unique_key="k")])),
]  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_each_breach_is_told(found: Facts, expected: set[str]) -> None:
    assert {breach.bar for breach in audit_controls.check(found)} == expected


@pytest.mark.parametrize("found", [case[1] for case in SOUND], ids=[case[0] for case in SOUND])
def test_what_is_in_order_is_not_told(found: Facts) -> None:
    assert list(audit_controls.check(found)) == []


@pytest.mark.parametrize("how", ["lease", "death"])
def test_who_lost_its_lease_or_died_counts_no_more(how: str) -> None:
    found = facts([row("a", concurrency_key="k"), row("b", concurrency_key="k")], ran("a", 1, None), ran("b", 9, 10))
    if how == "lease":
        found.workers[0]["dead_at"] = 8.0
    else:
        found.lives.append(Life("worker-0", PID, Path("worker.log"), started=0.0, ended=8.0))
    assert list(audit_controls.check(found)) == []
