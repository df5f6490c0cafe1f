"""What to do about one TaskSchedule: the same kind of pure function as `plan`, called twice in a round.

First it says what to put into the database, then, with the database's answer, what to publish.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec
from msgspec import structs

from taskmill.errors import Code
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.check import InvalidSpec
from taskmill.kube.crd.model import TaskSchedule, parse_schedule, schedule_name, schedule_status
from taskmill.kube.crd.task_schedule import ScheduleStatus
from taskmill.kube.plan import conditions
from taskmill.kube.plan.conditions import Verdict, stamp
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.state import (
    DeleteSchedule,
    PutSchedule,
    Refusal,
    SchedulePlan,
    ScheduleState,
    SetFinalizer,
)
from taskmill.services.fleet import ScheduleFact, ScheduleRequest

UNCONNECTED: Final = frozenset({Reason.CONNECTION_SECRET_MISSING.value, Reason.CONNECTION_INVALID.value})
TAKEN: Final = frozenset({Code.SCHEDULE_EXISTS.value, Code.SCHEDULE_OWNED.value})
# 数据库里的名字 → spec 里的；其余的两边同名
SPELT: Final = {"interval_s": "interval_seconds", "timezone": "time_zone", "catch_up_s": "catch_up_seconds"}
REQUEST: Final = tuple(name for name in ScheduleRequest.__struct_fields__ if name != "name")


def plan_schedule(state: ScheduleState) -> SchedulePlan:
    """Return what to do; the same state always gives the same plan."""
    try:
        schedule = parse_schedule(state.schedule)
    except InvalidSpec as error:
        return _invalid(state, str(error))
    return _end(state, schedule) if schedule.deleted_at is not None else _go(state, schedule)


def _go(state: ScheduleState, schedule: TaskSchedule) -> SchedulePlan:
    if schedule.annotations.get(names.PAUSED) == "true":
        return _status(state, schedule, [Verdict("Ready", None, Reason.PAUSED, Reason.PAUSED.about)])
    if problem := _unreachable(state, schedule):
        return _status(state, schedule, [problem])
    if names.FINALIZER not in schedule.finalizers:
        # 先有 finalizer 再写数据库，删除时才不会漏下
        return SchedulePlan(
            actions=(SetFinalizer(present=True),), status=msgspec.to_builtins(schedule.status), requeue_s=0.0
        )
    if state.answer is None:
        return SchedulePlan(
            put=PutSchedule(_request(schedule), schedule.spec.suspend, schedule.key),
            status=msgspec.to_builtins(schedule.status),
        )
    return _answered(state, schedule, state.answer)


def _request(schedule: TaskSchedule) -> ScheduleRequest:
    given = {name: getattr(schedule.spec, SPELT.get(name, name)) for name in REQUEST}
    return msgspec.convert({**given, "name": schedule_name(schedule)}, ScheduleRequest)


def _answered(state: ScheduleState, schedule: TaskSchedule, answer: ScheduleFact | Refusal) -> SchedulePlan:
    if isinstance(answer, Refusal):
        reason = Reason.SCHEDULE_NAME_TAKEN if answer.code in TAKEN else Reason.SCHEDULE_REFUSED
        return _status(state, schedule, [Verdict("Ready", False, reason, answer.message), _stalled(reason, answer.message)])
    fields = ScheduleStatus(
        missed_count=answer.missed_count,
        next_fire_time=stamp(answer.next_fire_at) if answer.next_fire_at and not answer.paused else None,
        last_fire_time=stamp(answer.last_fire_at) if answer.last_fire_at else None,
        last_task_id=str(answer.last_task_id) if answer.last_task_id else None,
    )
    if answer.last_error:
        ready = Verdict("Ready", False, Reason.SCHEDULE_REFUSED, f"the last fire made no task: {answer.last_error}")
    else:
        reason = Reason.SCHEDULE_SUSPENDED if answer.paused else Reason.SCHEDULED
        ready = Verdict("Ready", True, reason, reason.about)
    return _status(state, schedule, [ready], fields)


def _end(state: ScheduleState, schedule: TaskSchedule) -> SchedulePlan:
    """删掉数据库里的计划再放手；够不着数据库就等，除非有人说不等了。"""
    if names.FINALIZER not in schedule.finalizers:
        return SchedulePlan(status=msgspec.to_builtins(schedule.status))
    forced = schedule.annotations.get(names.FORCE_DELETE) == "true"
    reference = schedule.spec.connection.database_secret_ref
    fact = state.secrets.get(reference.name)
    gone = state.namespace_terminating and (fact is None or not fact.found)
    if forced or gone:
        return SchedulePlan(actions=(SetFinalizer(present=False),), status=msgspec.to_builtins(schedule.status))
    if problem := _unreachable(state, schedule):
        hint = f"{problem.message}; the annotation {names.FORCE_DELETE}=true gives the entry in the database up"
        return _status(state, schedule, [replace(problem, message=hint)])
    delete = DeleteSchedule(schedule_name(schedule), schedule.key)
    return SchedulePlan(actions=(delete, SetFinalizer(present=False)), status=msgspec.to_builtins(schedule.status))


def _unreachable(state: ScheduleState, schedule: TaskSchedule) -> Verdict | None:
    reference = schedule.spec.connection.database_secret_ref
    fact, database = state.secrets.get(reference.name), state.database
    if fact is None or not fact.found:
        return Verdict("Ready", False, Reason.CONNECTION_SECRET_MISSING, f"Secret {reference.name} is missing")
    if reference.key not in fact.keys:
        message = f"Secret {reference.name} has no key {reference.key}"
        return Verdict("Ready", False, Reason.CONNECTION_SECRET_MISSING, message)
    if database is None or not database.identity:
        message = database.error if database else "the Secret of the database holds no usable URL"
        return Verdict("Ready", False, Reason.CONNECTION_INVALID, message)
    if database.error:
        return Verdict("Ready", False, Reason.DATABASE_UNREACHABLE, database.error)
    return None


def _stalled(reason: Reason, message: str) -> Verdict:
    return Verdict("Stalled", True, reason, message)


def _status(
    state: ScheduleState, schedule: TaskSchedule, verdicts: list[Verdict], fields: ScheduleStatus | None = None
) -> SchedulePlan:
    missing = verdicts[0].reason in UNCONNECTED
    if all(verdict.type != "Stalled" for verdict in verdicts):
        calm = Verdict("Stalled", False, Reason.NOT_STALLED)
        verdicts = [*verdicts, replace(verdicts[0], type="Stalled", status=True) if missing else calm]
    before = schedule.status.conditions
    made = conditions.merge(before, verdicts, schedule.generation, state.now)
    kept = schedule.status if fields is None else fields
    return SchedulePlan(
        status=msgspec.to_builtins(structs.replace(kept, observed_generation=schedule.generation, conditions=made)),
        events=conditions.transitions(before, made),
        requeue_s=c.KUBE_SECRET_MISSING_S if missing else c.SCHEDULE_STATUS_S,
    )  # fmt: skip


def _invalid(state: ScheduleState, message: str) -> SchedulePlan:
    """读不懂的 spec：只说哪里不对；正在删除的就放它走。"""
    metadata, status = state.schedule["metadata"], schedule_status(state.schedule)
    leaving = metadata.get("deletionTimestamp") and names.FINALIZER in (metadata.get("finalizers") or ())
    verdicts = [Verdict("Ready", False, Reason.INVALID_SPEC, message), _stalled(Reason.INVALID_SPEC, message)]
    generation, before = int(metadata.get("generation") or 0), status.conditions
    made = conditions.merge(before, verdicts, generation, state.now)
    return SchedulePlan(
        actions=(SetFinalizer(present=False),) if leaving else (),
        status=msgspec.to_builtins(structs.replace(status, observed_generation=generation, conditions=made)),
        events=conditions.transitions(before, made),
    )
