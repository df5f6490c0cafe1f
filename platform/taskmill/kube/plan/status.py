"""The last stage: Ready and its companions, the numbers, the events of transitions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.model import parse_time, queue_name
from taskmill.kube.crd.status import RevisionStatus, ScalingStatus, WorkStatus
from taskmill.kube.plan import conditions, pod_workers
from taskmill.kube.plan.conditions import stamp
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.lights import kinds
from taskmill.kube.plan.pods import trouble
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.plan.rollout import TEMPLATE_HASH, Rollout
from taskmill.kube.render import workers as manifests
from taskmill.kube.state import Event, Manifest, Plan

ROLLS = "a new template replaces the old workers"
WAITS = frozenset({Reason.ROLLING_OUT, Reason.WORKERS_STARTING})
NONE_WANTED = "No worker is wanted: nothing waits that would need one."


def judge(draft: Draft) -> None:
    """Say whether it is as desired, if no earlier stage has said otherwise."""
    database, rollout = draft.state.database, draft.rollout
    if rollout is None:
        draft.not_ready(Reason.WORKERS_STARTING, "the Deployment is being made", going=True)
        return
    if database and database.error and database.failing_s >= c.UNREACHABLE_S:
        draft.not_ready(Reason.DATABASE_UNREACHABLE, database.error)
    ready, wanted = _ready(draft), draft.status.desired_replicas or 0
    cause = _cause(draft, rollout) if ready < wanted or rollout.rolling else None
    waits = cause is not None and cause[0] in WAITS
    if rollout.stuck and rollout.rolling and not waits:
        draft.not_ready(Reason.ROLLOUT_STUCK, f"{rollout.stuck} {cause[1] if cause else ''}".strip(), stalled=True)
    if cause is not None:
        draft.not_ready(*cause, going=True)
    if draft.template_changes or rollout.rolling:
        draft.not_ready(Reason.ROLLING_OUT, ROLLS, going=True)
        draft.moving(Reason.ROLLING_OUT, ROLLS)
    kinds(draft)
    _stopped(draft)
    if ready == 0 and wanted > 0:
        draft.not_ready(Reason.WORKERS_STARTING, "no worker is ready yet", going=True)
    if "Ready" not in draft.verdicts:
        draft.report("Ready", True, Reason.AS_DESIRED, (Reason.AS_DESIRED.about if wanted else NONE_WANTED) + draft.note)
        draft.report("Reconciling", False, Reason.SETTLED)
        draft.report("Stalled", False, Reason.NOT_STALLED)


def _stopped(draft: Draft) -> None:
    """有意停着的，和还没决定要几个的。"""
    spec = draft.queue.spec
    if spec.stop_policy != "None":
        draft.not_ready(Reason.SUSPENDED, f"spec.stopPolicy is {spec.stop_policy}")
    if draft.paused_by:
        resume = f"taskmill queue resume {queue_name(draft.queue)}"
        draft.not_ready(Reason.SUSPENDED, f"{draft.paused_by} has paused the queue in the database; {resume} goes on")
    undecided = spec.scaling.mode == "Auto" and spec.stop_policy == "None" and draft.state.decision is None
    if undecided and conditions.reason_of(draft.queue.status.conditions, "Ready") != Reason.AS_DESIRED.value:
        draft.not_ready(Reason.WORKERS_STARTING, "the number of workers is not decided yet", going=True)


def _cause(draft: Draft, rollout: Rollout) -> tuple[Reason, str] | None:
    cause = trouble(draft)
    if cause is None or cause[0] is not Reason.WORKERS_UNSCHEDULABLE:
        return cause
    going = list(_finishing(draft))
    if not going and not any(pod.leaving for pod in draft.pods):
        return cause
    # 旧的工作进程还在收尾，它们走了才有地方：这不是毛病，不论 Deployment 还数不数它们
    old = rollout.rolling or any(names.label(pod, TEMPLATE_HASH) != rollout.newest_hash for pod in going)
    words = f"new workers wait for the room of old ones, which finish their tasks: {cause[1]}"
    return Reason.ROLLING_OUT if old else Reason.WORKERS_STARTING, words


def _finishing(draft: Draft) -> Iterator[Manifest]:
    """正在收尾的 Pod：已被删除，时限（deletionTimestamp 已含）还没过去。过了还在的多半是节点失联，等不来。"""
    for pod in draft.state.pods:
        until = parse_time(pod["metadata"].get("deletionTimestamp"))
        if until is None or (pod.get("status") or {}).get("phase") in pod_workers.ENDED:
            continue
        left = (until - draft.state.now).total_seconds() + c.UNSCHEDULABLE_S
        if left > 0:
            draft.again_in(left)
            yield pod


def count(draft: Draft) -> None:
    """Add the numbers of pods and tasks, rounded so that they do not change with every task."""
    rollout, status = draft.rollout, draft.status
    status.selector = names.selector_text(draft.queue.name)
    status.replicas = rollout.total if rollout else 0
    status.ready_replicas = rollout.ready if rollout else 0
    status.updated_replicas = rollout.updated if rollout else 0
    if draft.state.workers is not None:
        status.busy_replicas = sum(pod.running > 0 for pod in draft.pods)
    status.work = _work(draft)
    before = rollout.replicas if rollout else 0
    if status.scaling is not None:
        status.scaling = _scaling(draft, status.scaling, scaled=draft.scaled_to not in {None, before})
    if rollout is not None:
        _revision(draft)


def finish(draft: Draft, *, only_conditions: bool = False) -> Plan:
    """Return the plan with status and events; `only_conditions`: leave all other fields as they are."""
    queue = draft.queue
    before = queue.status.conditions
    merged = conditions.merge(before, draft.verdicts.values(), queue.generation, draft.state.now)
    said = {condition["type"] for condition in merged}
    kept = [condition for condition in before if condition["type"] not in said]  # 这一轮没有说法的，保持原样
    made = sorted([*merged, *kept], key=lambda each: conditions.ORDER.index(each["type"]))
    status = queue.status if only_conditions else draft.status
    return Plan(
        actions=tuple(draft.actions),
        status=msgspec.to_builtins(replace(status, observed_generation=queue.generation, conditions=made)),
        events=(*draft.events, *conditions.transitions(before, made)),
        requeue_s=draft.requeue_s, rolling=draft.rolling, interrupted=draft.interrupted,
    )  # fmt: skip


def rounded(value: float) -> int:
    """Return a number with two significant digits."""
    if value < 100:  # noqa: PLR2004 - 两位以内原样
        return int(value)
    unit = 10 ** (int(math.log10(value)) - 1)
    return round(value / unit) * unit


def _ready(draft: Draft) -> int:
    return sum(pod.ready and not pod.leaving for pod in draft.pods)


def _work(draft: Draft) -> WorkStatus | None:
    load, decision, old = draft.state.load, draft.state.decision, draft.queue.status.work
    if load is None:  # 刚启动、还没看过数据库时，旧的数字照旧
        away = draft.state.database is not None and draft.state.database.error
        return replace(old or WorkStatus(), source="Stale") if away else old
    made = WorkStatus(
        ready=rounded(load.ready), running=rounded(load.running), due_soon=rounded(load.due_soon),
        oldest_wait_seconds=rounded(load.oldest_wait_s), source="Postgres",
    )  # fmt: skip
    if decision is None:
        kept = old or made
        return replace(made, arrivals_per_second=kept.arrivals_per_second, mean_service_seconds=kept.mean_service_seconds)
    rates = decision.memory.rates
    # 到达率会一直衰减：两位小数之后就是零，空闲的队列不再写状态
    arrivals, service = round(rates.arrivals(load.oldest_wait_s), 2), round(rates.service_s, 2)
    return replace(made, arrivals_per_second=f"{arrivals:g}", mean_service_seconds=f"{service:g}")


def _scaling(draft: Draft, made: ScalingStatus, *, scaled: bool) -> ScalingStatus:
    """时间戳；说明里总有变动的秒数，别的都没变时留着旧的。"""
    load, old, now = draft.state.load, draft.queue.status.scaling, stamp(draft.state.now)
    if scaled:
        made = replace(made, last_scale_time=now)
    if load and (load.ready or load.running):
        made = replace(made, last_active_time=now)
    if old is None or not old.explanation or draft.status.work != draft.queue.status.work:
        return made
    calm = replace(made, explanation=old.explanation)
    return calm if calm == old else made


def _revision(draft: Draft) -> None:
    """现在全体 Pod 所属的 bundle，和正在换上的那个；换完时各发一个事件。"""
    live, old = draft.state.deployment, draft.queue.status.revision or RevisionStatus()
    rollout = draft.rollout
    if live is None or rollout is None:
        return
    updated = names.annotation(live, names.BUNDLE)
    version = names.annotation(live, names.TEMPLATE_VERSION)
    current = updated if not rollout.rolling and not draft.template_changes else old.current
    draft.status.revision = RevisionStatus(
        current=current or None, updated=updated, template_version=int(version) if version.isdigit() else manifests.LATEST
    )
    # 卡住的不占名额：几个拉不到镜像的队列不该挡住所有别的
    draft.rolling = (rollout.rolling and not rollout.stuck) or (draft.template_changes and rollout.replicas > 0)
    # 看 Reconciling：Ready 说的可能是更要紧的事
    was = conditions.reason_of(draft.queue.status.conditions, "Reconciling") == Reason.ROLLING_OUT.value
    ready, moving = draft.verdicts.get("Ready"), draft.verdicts.get("Reconciling")
    if moving is not None and moving.reason == Reason.ROLLING_OUT.value:
        draft.events += [] if was else [Event("Normal", "RolloutStarted", f"bundle {updated}")]
    elif was and ready is not None and ready.status:
        draft.events.append(Event("Normal", "RolloutCompleted", f"bundle {updated}"))
