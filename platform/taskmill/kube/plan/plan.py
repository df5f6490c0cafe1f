"""What to do about one TaskQueue: a pure function from what is seen to what is done, published and told.

Stages, the first closed gate ends the way down, the status is always written:
end (deletion, finalizer) → paused → name clash → Secrets → bundle → migration → ServiceAccount,
Deployment → policy → scale (orders, marks, /scale) → PodDisruptionBudget → deaths → conditions, numbers, events.
Workers that exist go on being scaled while a new image waits for its migration.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.check import InvalidSpec
from taskmill.kube.crd.model import parse_queue, queue_name, queue_status
from taskmill.kube.plan import conditions
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.end import is_deleted, keep_finalizer
from taskmill.kube.plan.lights import lights
from taskmill.kube.plan.pods import count_interrupted, record_deaths
from taskmill.kube.plan.policy import policy
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.plan.scale import scale
from taskmill.kube.plan.status import count, finish, judge
from taskmill.kube.plan.template import budget, migrated, render, secrets_found, workload
from taskmill.kube.state import Manifest, Plan, SetFinalizer, State


def plan(state: State) -> Plan:
    """Return what to do; the same state always gives the same plan."""
    try:
        queue = parse_queue(state.queue)
    except InvalidSpec as error:
        return _invalid(state, str(error))
    draft = Draft(state, queue)
    if is_deleted(draft):
        record_deaths(draft)
        lights(draft)
        return finish(draft, only_conditions=True)
    if queue.annotations.get(names.PAUSED) == "true":
        draft.report("Ready", None, Reason.PAUSED, Reason.PAUSED.about)
        draft.report("Reconciling", False, Reason.PAUSED)
        draft.report("Stalled", False, Reason.NOT_STALLED)
        lights(draft)
        return finish(draft, only_conditions=True)
    if state.same_queue:
        message = f"queue {queue_name(queue)} belongs to {state.same_queue[0]}"
        draft.not_ready(Reason.QUEUE_NAME_TAKEN, message, stalled=True)
        return finish(draft, only_conditions=True)
    _go(draft)
    return finish(draft)


def _go(draft: Draft) -> None:
    if secrets_found(draft):
        _build(draft)
        policy(draft)
        scale(draft)
        keep_finalizer(draft)
        budget(draft)
    record_deaths(draft)
    count_interrupted(draft)
    lights(draft)
    judge(draft)
    count(draft)


def _build(draft: Draft) -> None:
    database = draft.state.database
    if database is not None and database.error:
        if draft.state.deployment is None or database.failing_s >= c.UNREACHABLE_S:
            draft.not_ready(Reason.DATABASE_UNREACHABLE, database.error)
        if draft.state.deployment is None:
            return
        if database.failing_s < c.UNREACHABLE_S:
            draft.again_in(c.UNREACHABLE_S - database.failing_s)  # 到点就说，不等下一次去看数据库
    rendering = render(draft)
    if migrated(draft, rendering):
        workload(draft, rendering)


def _invalid(state: State, message: str) -> Plan:
    """读不懂的 spec：什么都不动，只说哪里不对；正在删除的就放它走。"""
    metadata, status = state.queue["metadata"], queue_status(state.queue)
    leaving = metadata.get("deletionTimestamp") and names.FINALIZER in (metadata.get("finalizers") or ())
    generation, before = int(metadata.get("generation") or 0), status.conditions
    verdicts = [
        conditions.Verdict("Ready", False, Reason.INVALID_SPEC, message),
        conditions.Verdict("Reconciling", False, Reason.SETTLED),
        conditions.Verdict("Stalled", True, Reason.INVALID_SPEC, message),
    ]
    merged = conditions.merge(before, verdicts, generation, state.now)
    kept: list[Manifest] = [each for each in before if each["type"] not in {verdict.type for verdict in verdicts}]
    return Plan(
        actions=(SetFinalizer(present=False),) if leaving else (),
        status=msgspec.to_builtins(replace(status, observed_generation=generation, conditions=[*merged, *kept])),
        events=conditions.transitions(before, merged),
    )
