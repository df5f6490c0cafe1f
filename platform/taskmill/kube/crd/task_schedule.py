"""Spec and status of TaskSchedule: a timetable that submits tasks."""

from __future__ import annotations

from taskmill import constants as c
from taskmill.kube.crd import schema as s
from taskmill.kube.crd.schema import Schema
from taskmill.kube.crd.status import COUNT_MAX
from taskmill.kube.crd.task_queue import QUEUE_NAME, TEN_YEARS_S, connection

SCHEDULE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$"
TIME_ZONE = r"^[A-Za-z][A-Za-z0-9_+/-]*$"
CRON_FIELDS = r"^\\S+([ ]+\\S+){4,5}$"

ONE_TIMETABLE = "give cron or intervalSeconds, exactly one of them"
CRON_FORM = "cron needs five fields (minute hour day month weekday), or six with seconds first"
ZONE_OF_INTERVAL = "timeZone means nothing with intervalSeconds: an interval counts real seconds"
SCHEDULE_NAME_CHANGED = "scheduleName is immutable: the old schedule would go on; make a new TaskSchedule"


def schedule_spec() -> Schema:
    """Return the schema of TaskSchedule's spec."""
    name = s.string(
        "Name of the schedule in the database. Absent: the name of this object. Cannot be changed.",
        limit=c.NAME_MAX_CHARS, pattern=SCHEDULE_NAME, least=1,
    )  # fmt: skip
    return s.record(
        "Which task is submitted, and when.",
        {
            "connection": connection(),
            "scheduleName": s.immutable(name, SCHEDULE_NAME_CHANGED),
            "kind": s.string("Kind of the tasks, such as http.request.", limit=c.NAME_MAX_CHARS, least=1),
            "args": s.opaque("Arguments of the tasks."),
            "cron": s.string("When, as a cron expression in `timeZone`: `0 9 * * 1-5`. Six fields: the first is seconds.",
                             limit=c.CRON_MAX_CHARS, least=1),
            "intervalSeconds": s.integer("When, every so many seconds.", int(c.INTERVAL_MIN_S), TEN_YEARS_S),
            "timeZone": s.string("Time zone of `cron`, such as Europe/Berlin.", limit=64, pattern=TIME_ZONE, default="UTC"),
            "queue": s.string("Queue of the tasks. Absent: the queue that the kind names.", limit=c.NAME_MAX_CHARS,
                              pattern=QUEUE_NAME, least=1),
            "priority": s.integer("Priority of the tasks, 1 is the highest. Absent: as the kind says.",
                                  min(c.PRIORITIES), max(c.PRIORITIES)),
            "catchUpSeconds": s.integer(
                "Of the fires missed while no scheduler ran, the latest is made up for if it is at most this late.",
                0, int(c.CATCH_UP_MAX_S), default=int(c.CATCH_UP_DEFAULT_S),
            ),
            "suspend": s.boolean("Whether it fires no more for now; what lies in the pause is never made up for.", default=False),
        },
        required=["connection", "kind"],
        rules=[
            s.rule("has(self.cron) != has(self.intervalSeconds)", ONE_TIMETABLE, path=".cron"),
            s.rule(f"!has(self.cron) || self.cron.matches('{CRON_FIELDS}')", CRON_FORM, path=".cron"),
            s.rule("!has(self.intervalSeconds) || self.timeZone == 'UTC'", ZONE_OF_INTERVAL, path=".timeZone",
                   reason="FieldValueForbidden"),
            s.rule("has(self.scheduleName) == has(oldSelf.scheduleName)", SCHEDULE_NAME_CHANGED, path=".scheduleName",
                   reason="FieldValueForbidden"),
        ],
    )  # fmt: skip


def schedule_status() -> Schema:
    """Return the schema of TaskSchedule's status."""
    return s.record(
        "What the database has.",
        {
            "observedGeneration": s.generation("The generation of the spec that this status is about."),
            "nextFireTime": s.time("When it fires next; absent while it is suspended."),
            "lastFireTime": s.time("When it fired last."),
            "lastTaskId": s.string("Id of the task that the last fire submitted.", limit=64),
            "missedCount": s.integer("Fires that were given up.", 0, COUNT_MAX),
            "conditions": s.conditions("Ready, Stalled; reasons are stable."),
        },
    )
