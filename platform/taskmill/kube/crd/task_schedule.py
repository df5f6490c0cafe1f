"""Spec and status of TaskSchedule: a timetable that submits tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import field

from taskmill import constants as c
from taskmill.kube.crd.schema import (
    Checks,
    Object,
    Record,
    Rule,
    about,
    count,
    generation,
    immutable,
    keyed,
    opaque,
    text,
    time,
    whole,
)
from taskmill.kube.crd.status import Condition
from taskmill.kube.crd.task_queue import CONNECTION_CHANGED, QUEUE_NAME, TEN_YEARS_S, Connection

SCHEDULE_NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$"
TIME_ZONE: Final = r"^[A-Za-z][A-Za-z0-9_+/-]*$"
CRON_FIELDS: Final = re.compile(r"[^\t\n\f\r ]+([ ]+[^\t\n\f\r ]+){4,5}")  # 与下面 CEL 里的 \S 相同

ONE_TIMETABLE: Final = "give cron or intervalSeconds, exactly one of them"
CRON_FORM: Final = "cron needs five fields (minute hour day month weekday), or six with seconds first"
ZONE_OF_INTERVAL: Final = "timeZone means nothing with intervalSeconds: an interval counts real seconds"
SCHEDULE_NAME_CHANGED: Final = "scheduleName is immutable: the old schedule would go on; make a new TaskSchedule"


class TaskScheduleSpec(Record, frozen=True, kw_only=True):
    """Which task is submitted, and when."""

    CHECKS: ClassVar[Checks] = (
        Rule(
            "has(self.cron) != has(self.intervalSeconds)", ONE_TIMETABLE, ".cron",
            holds=lambda it: (it.cron is None) != (it.interval_seconds is None),
        ),
        Rule(
            r"!has(self.cron) || self.cron.matches('^\\S+([ ]+\\S+){4,5}$')", CRON_FORM, ".cron",
            holds=lambda it: it.cron is None or CRON_FIELDS.fullmatch(it.cron) is not None,
        ),
        Rule(
            "!has(self.intervalSeconds) || self.timeZone == 'UTC'", ZONE_OF_INTERVAL, ".timeZone",
            reason="FieldValueForbidden", holds=lambda it: it.interval_seconds is None or it.time_zone == "UTC",
        ),
        Rule(
            "has(self.scheduleName) == has(oldSelf.scheduleName)", SCHEDULE_NAME_CHANGED, ".scheduleName",
            reason="FieldValueForbidden",
        ),
    )  # fmt: skip

    connection: Annotated[Connection, immutable("", CONNECTION_CHANGED)]
    schedule_name: (
        Annotated[
            str,
            text(
                "Name of the schedule in the database. Absent: the name of this object. Cannot be changed.",
                limit=c.NAME_MAX_CHARS, pattern=SCHEDULE_NAME, least=1, never=SCHEDULE_NAME_CHANGED,
            ),
        ]
        | None
    ) = None  # fmt: skip
    kind: Annotated[str, text("Kind of the tasks, such as http.request.", limit=c.NAME_MAX_CHARS, least=1)]
    args: Annotated[Object, opaque("Arguments of the tasks.")] = field(default_factory=dict)
    cron: (
        Annotated[
            str,
            text(
                "When, as a cron expression in `timeZone`: `0 9 * * 1-5`. Six fields: the first is seconds.",
                limit=c.CRON_MAX_CHARS, least=1,
            ),
        ]
        | None
    ) = None  # fmt: skip
    interval_seconds: Annotated[int, whole("When, every so many seconds.", int(c.INTERVAL_MIN_S), TEN_YEARS_S)] | None = None
    time_zone: Annotated[str, text("Time zone of `cron`, such as Europe/Berlin.", limit=64, pattern=TIME_ZONE)] = "UTC"
    queue: (
        Annotated[
            str,
            text(
                "Queue of the tasks. Absent: the queue that the kind names.",
                limit=c.NAME_MAX_CHARS, pattern=QUEUE_NAME, least=1,
            ),
        ]
        | None
    ) = None  # fmt: skip
    priority: (
        Annotated[
            int,
            whole(
                "Priority of the tasks, 1 is the highest. Absent: as the kind says.", min(c.PRIORITIES), max(c.PRIORITIES)
            ),
        ]
        | None
    ) = None
    catch_up_seconds: Annotated[
        int,
        whole(
            "Of the fires missed while no scheduler ran, the latest is made up for if it is at most this late.",
            0, int(c.CATCH_UP_MAX_S),
        ),
    ] = int(c.CATCH_UP_DEFAULT_S)  # fmt: skip
    suspend: Annotated[bool, about("Whether it fires no more for now; what lies in the pause is never made up for.")] = False


class ScheduleStatus(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What the database has."""

    SHAPES: ClassVar[Mapping[str, type[msgspec.Struct]]] = {"conditions": Condition}

    observed_generation: Annotated[int, generation("The generation of the spec that this status is about.")] | None = None
    next_fire_time: Annotated[str, time("When it fires next; absent while it is suspended.")] | None = None
    last_fire_time: Annotated[str, time("When it fired last.")] | None = None
    last_task_id: Annotated[str, text("Id of the task that the last fire submitted.", limit=64)] | None = None
    missed_count: Annotated[int, count("Fires that were given up.")] | None = None
    conditions: Annotated[list[Object], keyed("Ready, Stalled; reasons are stable.", "type", limit=16)] = field(
        default_factory=list
    )
