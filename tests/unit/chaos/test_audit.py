"""The audit of the chaos driver can fail: each defect, put into facts that are in order, is reported and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.driver import audit_roles, audit_tasks, report
from tests.chaos.driver.clients import Answer
from tests.chaos.driver.cores import Meter
from tests.chaos.driver.facts import Event, Facts, Stream
from tests.chaos.driver.roles import Life
from tests.chaos.driver.serving import Served

WORKER, OTHER = 100, 200


def line(event: str, task_id: str, mono: float, **more: Any) -> dict[str, Any]:
    return {"event": event, "id": task_id, "mono": mono, "wall": mono, "file": "test.jsonl", "kind": "chaos.short", **more}


def ran(
    task_id: str, begin: float, end: float | None, *, claim: int = 1, pid: int = WORKER, **more: Any
) -> list[dict[str, Any]]:
    """Return the lines of one attempt; without an end the process died first."""
    facts = {"claim": claim, "pid": pid, **more}
    start = line("start", task_id, begin, **facts)
    return [start] if end is None else [start, line("end", task_id, end, **{"how": "ok", **facts})]


def row(task_id: str, state: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": task_id, "queue": "default", "kind": "chaos.short", "state": state, "attempt": 1, "claim_no": 1, "crash_count": 0,
        "timeout_ms": 10_000, "worker_id": "w", "finished_at": 3.0, "error": None, "due_in_s": 0.0, **more,
    }  # fmt: skip


def attempt(task_id: str, cause: str, **more: Any) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "claim_no": 1,
        "cause": cause,
        "message": "words",
        "worker_id": "w",
        "finished_at": 3.0,
        **more,
    }


def life(role: str = "worker-0", pid: int = WORKER, **more: Any) -> Life:
    made = Life(role, pid, Path("worker.log"), started=0.0)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def sound() -> Facts:
    """Two tasks that ended as they must, and one that waits for next week."""
    fault = Event("Valkey frozen", "valkey", 1, 50.0, 60.0, "for a test")
    return Facts(
        lines=[
            line("ack", "a", 1.0), *ran("a", 1.5, 2.0), line("ack", "b", 1.0), *ran("b", 1.5, 2.0),
            line("ack", "p", 1.0, parked=True),
        ],
        tasks=[row("p", "scheduled", due_in_s=600_000.0, attempt=0)],
        history=[row("a"), row("b")],
        workers=[{"id": "w", "pid": WORKER, "death": None, "dead_at": None}, {"id": "v", "pid": OTHER, "death": None, "dead_at": None}],
        rollups=[{"queue": "default", "kind": "chaos.short", "outcome": "completed", "n": 2}],
        streams=[Stream("taskmill:{default}:tickets:2", 0, 0)],
        connections=10, connections_most=100,
        gauges={"worker-0": {"running": 0.0, "unsettled": 0.0}},
        events=[fault],
        lives=[life(asked_at=100.0, ended=104.0, code=0, ended_by="SIGTERM")],
        answers=[Answer("single", "api-0", 1.0, 1.2, 201)],
        served=[(fault, Served("worker-0 through api-0", ("api-0", "worker-0"), 60.0, 1.0, fresh=False))],
        start_s=5.0,
    )  # fmt: skip


def bars(facts: Facts) -> set[str]:
    return {breach.bar for breach in (*audit_tasks.check(facts), *audit_roles.check(facts))}


def test_sound_facts_break_nothing() -> None:
    assert bars(sound()) == set()


Spoil = Callable[[Facts], object]


def _claims_overlap(facts: Facts) -> None:
    facts.lines += ran("a", 1.7, 1.9, claim=2, pid=OTHER)


def _crash_without_a_crash(facts: Facts) -> None:
    facts.history[0]["crash_count"] = 1
    facts.attempts.append(attempt("a", "crash"))


def _timed_out_though_ended(facts: Facts) -> None:
    facts.history[0] |= {"state": "discarded", "error": "past its deadline"}
    facts.attempts.append(attempt("a", "timeout"))


def _ended_badly_and_recorded_as_timed_out(facts: Facts) -> None:
    facts.lines += [
        line("ack", "g", 1.0, kind="chaos.base_exception"),
        *ran("g", 1.1, 1.2, kind="chaos.base_exception", how="Odd"),
    ]
    facts.history.append(row("g", "discarded", kind="chaos.base_exception"))
    facts.rollups.append({"queue": "default", "kind": "chaos.base_exception", "outcome": "discarded", "n": 1})
    facts.attempts.append(attempt("g", "timeout"))


def _innocent_discarded(facts: Facts) -> None:
    facts.lines = [each for each in facts.lines if each["id"] != "a" or each["event"] == "ack"]
    facts.lines += [*ran("a", 1.5, None), *ran("poison", 1.4, None, kind="chaos.os_exit")]
    facts.history[0] |= {"state": "discarded", "crash_count": 3}
    facts.attempts.append(attempt("a", "crash"))
    facts.lives.append(life(ended=2.0, code=1))


SPOILED: list[tuple[str, Spoil, set[str]]] = [
    ("an acknowledged task is nowhere", lambda f: f.lines.append(line("ack", "x", 2.0)), {"0 lost"}),
    ("a child is nowhere", lambda f: f.lines.append(line("child", "x", 2.0)), {"0 lost"}),
    ("an id is live and final", lambda f: f.tasks.append(row("a", "available")), {"0 doubled", "every task final"}),
    ("an id is final twice", lambda f: f.history.append(row("a")), {"0 doubled", "rollups fit history"}),
    ("a task never ends", lambda f: f.tasks.append(row("r", "running")), {"every task final"}),
    ("a due task waits", lambda f: f.tasks[0].update(due_in_s=-5.0), {"every task final"}),
    ("a task waits far ahead that nobody put there", lambda f: f.tasks[0].update(id="q"), {"0 lost", "every task final"}),
    ("nothing changes any more", lambda f: setattr(f, "calm_s", None), {"calm in the end"}),
    ("a completed task is recorded as timed out", _timed_out_though_ended, {"0 completed recorded otherwise", "ends as it must"}),
    ("a failure is recorded as a timeout", _ended_badly_and_recorded_as_timed_out, {"0 completed recorded otherwise"}),
    ("a task is cancelled unasked", lambda f: f.history[0].update(state="cancelled"), {"ends as it must"}),
    ("an attempt is burnt", lambda f: f.history[0].update(attempt=2), {"0 attempts burnt"}),
    ("a crash is counted of a process that lives", _crash_without_a_crash, {"0 crashes counted without a crash"}),
    ("an innocent is discarded", _innocent_discarded, {"innocents survive crashes"}),
    ("two claims live at once", _claims_overlap, {"no two live claims"}),
    ("a row is counted twice", lambda f: f.rollups[0].update(n=3), {"rollups fit history"}),
    ("tickets stay pending", lambda f: f.streams.append(Stream("s", 3, 3)), {"streams are clean"}),
    ("a stream has no group", lambda f: f.streams.append(Stream("s", 3, None)), {"streams are clean"}),
    ("tickets flood a stream", lambda f: f.streams.append(Stream("s", 5_000, 0)), {"streams are clean"}),
    ("connections are left", lambda f: setattr(f, "connections", 101), {"connections are back to normal"}),
    ("a slot is lost", lambda f: f.gauges["worker-0"].update(running=1.0), {"no slot is lost"}),
    ("memory grows", lambda f: setattr(f.lives[0], "rss_mb", [(40.0, 100.0), (90.0, 300.0)]), {"memory does not grow"}),
    ("a role does not end", lambda f: setattr(f.lives[0], "ended", 150.0), {"SIGTERM ends a role ≤ 40 s"}),
    ("a role ends with an error", lambda f: setattr(f.lives[0], "code", 1), {"exit code 0 after SIGTERM"}),
    ("a role ends by itself", lambda f: f.lives.append(life(pid=OTHER, ended=9.0, code=1)), {"no role ends by itself"}),
    ("a role serves late", lambda f: setattr(f.served[0][1], "seconds", 21.0), {"every role serves ≤ 20 s after"}),
    ("a role never serves", lambda f: setattr(f.served[0][1], "seconds", None), {"every role serves ≤ 20 s after"}),
    ("a role waited for a core at another time", lambda f: _late(f, f.lives[0].meter, 10.0), {"every role serves ≤ 20 s after"}),
    ("a new process serves late", lambda f: (setattr(f.served[0][1], "fresh", True), setattr(f.served[0][1], "seconds", 31.0)), {"every role serves ≤ 20 s after"}),
    ("a user is blamed", lambda f: f.answers.append(Answer("single", "api-0", 55.0, 55.1, 422, "too broad")), {"answers fit the cause"}),
    ("an answer is not in the envelope", lambda f: f.answers.append(Answer("read", "api-0", 55.0, 55.1, 503, "Oops")), {"answers fit the cause"}),
    ("an answer is late", lambda f: f.answers.append(Answer("batch", "api-0", 51.0, 91.0, 201)), {"answers ≤ 20 s"}),
    ("no answer comes", lambda f: f.answers.append(Answer("read", "api-0", 70.0, 130.0, None, "ReadTimeout")), {"answers ≤ 20 s"}),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "expected"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
def test_each_defect_is_reported(spoil: Spoil, expected: set[str]) -> None:
    facts = sound()
    spoil(facts)
    assert bars(facts) == expected


def _zombie(facts: Facts) -> None:
    facts.workers[0]["dead_at"] = 1.6
    _claims_overlap(facts)


def _killed_by_us(facts: Facts) -> None:
    _innocent_discarded(facts)
    facts.lines = [each for each in facts.lines if each["id"] != "poison"]
    facts.lives[-1].ended_by = "kill -9"


def _frozen_and_slow_to_leave(facts: Facts) -> None:
    facts.lives[0].ended, facts.lives[0].stopped = 150.0, [(90.0, 145.0)]


def _held_up_by_a_fault(facts: Facts) -> None:
    facts.events[0].blocks = True
    facts.answers.append(Answer("single", "api-0", 30.0, 79.0, 503))


def _late(facts: Facts, meter: Meter, since: float) -> None:
    """Serve after 39 s, of which 19 s went by without a core, from `since` on."""
    facts.served[0][1].seconds = 39.0
    meter.samples = [(0.0, 0.0, 0.0), (since, 1.0, 5.0), (since + 39, 2.0, 24.0)]


def _answer_lost(facts: Facts) -> None:
    facts.lines += [line("parked-asked", "", 0.9), line("parked-asked", "", 0.9)]
    facts.tasks.append(row("unknown", "scheduled", due_in_s=600_000.0, attempt=0))


ALLOWED: list[tuple[str, Spoil]] = [
    ("a task waits far ahead whose answer was lost", _answer_lost),
    ("a zombie whose lease was lost goes on", _zombie),
    ("the driver itself killed the last attempt", _killed_by_us),
    ("a cancelled task was asked to be", lambda f: (f.lines.append(line("cancel-asked", "a", 1.2)), f.history[0].update(state="cancelled"))),
    ("a retried task has more attempts", lambda f: (f.lines.append(line("retry-asked", "a", 1.2)), f.history[0].update(attempt=2))),
    ("a crash of a process that died", lambda f: (_crash_without_a_crash(f), f.lives.append(life(ended=2.5, ended_by="kill -9", code=-9)))),
    ("a role that starts is told to end", lambda f: (setattr(f.lives[0], "started", 97.0), setattr(f.lives[0], "code", -15))),
    ("a frozen role takes its time to leave", _frozen_and_slow_to_leave),
    ("an answer waited for a server that was away", _held_up_by_a_fault),
    ("a role waits for a core before it serves", lambda f: _late(f, f.lives[0].meter, 60.0)),
    ("the driver waits for a core before it sees a role serve", lambda f: _late(f, f.meter, 60.0)),
    ("a new process takes its time to start", lambda f: (setattr(f.served[0][1], "fresh", True), setattr(f.served[0][1], "seconds", 29.0))),
    ("a handler took its worker with it", lambda f: (f.lines.extend(ran("poison", 1.0, None, kind="chaos.os_exit", pid=7)),
                                                    f.lives.append(life(pid=7, ended=2.0, code=1)))),
]  # fmt: skip


@pytest.mark.parametrize("spoil", [case[1] for case in ALLOWED], ids=[case[0] for case in ALLOWED])
def test_what_at_least_once_allows_is_not_reported(spoil: Spoil) -> None:
    facts = sound()
    spoil(facts)
    assert bars(facts) == set()


def test_the_explanation_names_task_lines_rows_and_faults() -> None:
    facts = sound()
    facts.events[0].begin, facts.events[0].end = 0.0, 1.0
    _timed_out_though_ended(facts)
    told = report.explain(facts, list(audit_tasks.check(facts)))
    for words in ("BROKEN: 0 completed recorded otherwise (1 times)", "fault: Valkey frozen (for a test)", "task a", "'how': 'ok'",
                  "in test.jsonl", "past its deadline", "attempt: {"):  # fmt: skip
        assert words in told


def test_the_table_counts_faults_and_their_recovery() -> None:
    facts = sound()
    facts.events.append(Event("Valkey frozen", "valkey", 2, 100.0, 110.0))
    facts.served.append((facts.events[1], Served("worker-0 through api-0", ("worker-0",), 110.0, 4.0, fresh=False)))
    facts.lines.append(line("ack", "x", 112.0))
    facts.meter.samples = [(109.0, 1.0, 1.0), (114.0, 2.0, 2.0)]  # 第二次之中，驱动程序等了一秒
    rows = report.table([(facts, list(audit_tasks.check(facts)))])
    assert report.markdown(rows) == "| Valkey frozen | 2 | 1 | 0 | 0 | 2.5 s | 4.0 s | 3.0 s |\n"


def test_a_role_that_never_served_again_is_in_the_table() -> None:
    facts = sound()
    facts.served[0][1].seconds = None
    assert "never (1 times)" in report.markdown(report.table([(facts, [])]))
