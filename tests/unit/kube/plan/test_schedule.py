"""TaskSchedules: finalizer, then the database, then the status of what it answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskmill.ids import new_id
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.plan.schedule import plan_schedule
from taskmill.kube.state import (
    DatabaseFact,
    DeleteSchedule,
    Manifest,
    Refusal,
    SchedulePlan,
    ScheduleState,
    SecretFact,
    SetFinalizer,
)
from taskmill.services.fleet import ScheduleFact
from tests.unit.kube.objects import IDENTITY, NOW, SECRETS, at, queue

HELD = {"finalizers": [names.FINALIZER]}


def schedule(metadata: Manifest | None = None, **spec: Any) -> Manifest:
    made = queue("nightly", metadata=metadata)
    made["kind"] = "TaskSchedule"
    timetable = {} if "intervalSeconds" in spec else {"cron": "0 3 * * *"}
    made["spec"] |= {"kind": "report.build", **timetable, **spec}
    return made


def given(manifest: Manifest, **facts: Any) -> SchedulePlan:
    base = ScheduleState(NOW, manifest, SECRETS, DatabaseFact(IDENTITY))
    return plan_schedule(replace(base, **facts))


def fact(**changes: Any) -> ScheduleFact:
    made = ScheduleFact(
        "nightly",
        "app/nightly",
        "report.build",
        paused=False,
        next_fire_at=NOW + timedelta(hours=1),
        last_fire_at=NOW,
        last_task_id=new_id(),
        missed_count=2,
        last_error=None,
    )
    return replace(made, **changes)


def condition(plan: SchedulePlan, kind: str = "Ready") -> tuple[str, str]:
    return next((each["status"], each["reason"]) for each in plan.status["conditions"] if each["type"] == kind)


def test_finalizer_then_put_then_status() -> None:
    assert given(schedule()).actions == (SetFinalizer(present=True),)
    manifest = schedule(HELD, intervalSeconds=60, queue="mail", priority=1, args={"a": 1}, suspend=True, scheduleName="n.1")
    first = given(manifest)
    assert first.put is not None
    request = first.put.request
    assert (request.name, request.interval_s, request.cron, request.queue, request.priority) == (
        "n.1",
        60.0,
        None,
        "mail",
        1,
    )
    assert (request.args, request.timezone, request.catch_up_s) == ({"a": 1}, "UTC", 600.0)
    assert (first.put.suspend, first.put.owner) == (True, "app/nightly")
    last = given(manifest, answer=fact())
    assert (last.put, condition(last), condition(last, "Stalled")) == (None, ("True", "Scheduled"), ("False", "NotStalled"))
    assert (last.status["nextFireTime"], last.status["lastFireTime"], last.status["missedCount"]) == (at(3600), at(), 2)


def test_suspended_and_failing_schedules() -> None:
    paused = given(schedule(HELD), answer=fact(paused=True, last_fire_at=None, last_task_id=None))
    assert condition(paused) == ("True", "ScheduleSuspended")
    assert not {"nextFireTime", "lastFireTime", "lastTaskId"} & paused.status.keys()
    failing = given(schedule(HELD), answer=fact(last_error="no such kind"))
    assert condition(failing) == ("False", "ScheduleRefused")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("SCHEDULE_EXISTS", "ScheduleNameTaken"),
        ("SCHEDULE_INVALID", "ScheduleRefused"),
        ("KIND_NOT_FOUND", "ScheduleRefused"),
    ],
)
def test_refusals_stall(code: str, reason: str) -> None:
    made = given(schedule(HELD), answer=Refusal(code, "words"))
    assert (condition(made), condition(made, "Stalled")) == (("False", reason), ("True", reason))
    assert [event.reason for event in made.events] == [reason]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"secrets": {}}, "ConnectionSecretMissing"),
        ({"secrets": {"db": SecretFact("db", True, frozenset())}}, "ConnectionSecretMissing"),
        ({"database": None}, "ConnectionInvalid"),
        ({"database": DatabaseFact("", "bad URL")}, "ConnectionInvalid"),
        ({"database": DatabaseFact(IDENTITY, "refused")}, "DatabaseUnreachable"),
    ],
)
def test_out_of_reach(facts: dict[str, Any], reason: str) -> None:
    made = given(schedule(HELD), **facts)
    assert (made.put, made.actions, condition(made)) == (None, (), ("False", reason))
    fixable = reason != "DatabaseUnreachable"
    assert condition(made, "Stalled") == (("True", reason) if fixable else ("False", "NotStalled"))
    assert made.requeue_s == (c.KUBE_SECRET_MISSING_S if fixable else c.SCHEDULE_STATUS_S)
    ending = given(schedule({**HELD, "deletionTimestamp": at()}), **facts)
    assert (ending.actions, condition(ending)) == ((), ("False", reason))


def test_deletion_takes_it_out_of_the_database() -> None:
    ending = schedule({**HELD, "deletionTimestamp": at()})
    assert given(ending).actions == (DeleteSchedule("nightly", "app/nightly"), SetFinalizer(present=False))
    assert given(schedule({"deletionTimestamp": at()})).actions == ()
    assert given(ending, namespace_terminating=True, secrets={}).actions == (SetFinalizer(present=False),)
    forced = schedule({**HELD, "deletionTimestamp": at(), "annotations": {names.FORCE_DELETE: "true"}})
    assert given(forced, database=None).actions == (SetFinalizer(present=False),)
    waiting = given(ending, database=None)
    assert waiting.actions == ()
    assert names.FORCE_DELETE in waiting.status["conditions"][0]["message"]  # 说得出怎么脱身


def test_paused_and_wrong() -> None:
    assert condition(given(schedule({**HELD, "annotations": {names.PAUSED: "true"}}))) == ("Unknown", "Paused")
    wrong = given(schedule(HELD, intervalSeconds=5, cron="* * * * *"))
    assert (condition(wrong), wrong.actions) == (("False", "InvalidSpec"), ())
    leaving = given(schedule({**HELD, "deletionTimestamp": at()}, intervalSeconds=5, cron="* * * * *"))
    assert leaving.actions == (SetFinalizer(present=False),)
