"""The stage of the number of workers: whose word counts, what is wanted, and one step towards it."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from taskmill.kube import constants as c
from taskmill.kube.crd.status import ScalingStatus
from taskmill.kube.plan import conditions, drain
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.drain import Balance
from taskmill.kube.plan.pod_workers import Stage
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.plan.rollout import Rollout
from taskmill.kube.state import Event, OrderWorkers, Scale, ScaleQueue

PASSIVE = {"Manual": Reason.MANUAL, "External": Reason.EXTERNAL}


def scale(draft: Draft) -> None:
    """Take one step towards the wanted number of workers, and say who wanted it and why."""
    state, spec, rollout = draft.state, draft.queue.spec, draft.rollout
    _explain(draft)
    if rollout is None:
        return
    now = drain.balance(draft.pods, rollout.replicas, rollout.total)
    wanted = _wanted(draft, now)
    draft.status.desired_replicas = now.serving if wanted is None else wanted
    if draft.template_changes:
        rollout = dataclasses.replace(rollout, busy=True)
    # 没有新的说法就守着现状，但该走的继续走完
    hold = max(0, now.serving)
    steps = drain.step(
        draft.workload, draft.pods, rollout, hold if wanted is None else wanted, known=state.workers is not None
    )
    draft.actions += steps
    if not state.scaler_owns_replicas and draft.scaled_to is None and rollout.replicas > 0:
        draft.actions.append(Scale(draft.workload, rollout.replicas, "接管副本数"))  # 闲着的不必：省下上千次写
    if not state.scaler_owns_replicas and draft.scaled_to is not None:
        draft.again_in(c.SCALER_OWNS_S)
    if spec.scaling.mode == "External" and spec.replicas is None:
        # 至少一个：HPA 见到 0 就当作停用（ScalingDisabled），永远不会拉起来
        draft.actions.append(ScaleQueue(max(1, rollout.replicas), "给外部的伸缩器一个起点"))
    _report_draining(draft)
    _events(draft, rollout)


def _wanted(draft: Draft, now: Balance) -> int | None:
    """要多少个能干活的；None：没有说法，保持现状。"""
    spec, decision = draft.queue.spec, draft.state.decision
    if spec.stop_policy == "HoldAndDrain":
        return 0
    if spec.scaling.mode in PASSIVE:
        return spec.replicas
    if spec.stop_policy == "Hold" or spec.scaling.dry_run or decision is None:
        return None
    # 不知道有没有活的时候只增不减，无论别处怎么算
    return max(decision.pods, now.serving) if decision.reason.value == Reason.METRICS_STALE.value else decision.pods


def _explain(draft: Draft) -> None:
    spec, decision, old = draft.queue.spec, draft.state.decision, draft.queue.status.conditions
    if spec.stop_policy != "None":
        draft.report("ScalingActive", False, Reason.SUSPENDED, f"spec.stopPolicy is {spec.stop_policy}")
    elif reason := PASSIVE.get(spec.scaling.mode):
        draft.report("ScalingActive", False, reason, reason.about)
    elif decision is None:
        if not conditions.reason_of(old, "ScalingActive"):
            draft.report("ScalingActive", None, Reason.UNKNOWN, "no decision yet")
    else:
        reason = Reason(decision.reason.value)
        draft.report("ScalingActive", reason is Reason.COMPUTING, reason, reason.about)
    limit = Reason(decision.limited_by.value) if decision else Reason.NOT_LIMITED
    if decision or not conditions.reason_of(old, "ScalingLimited"):
        draft.report("ScalingLimited", limit is not Reason.NOT_LIMITED, limit, limit.about)
    if decision:  # 还没有决定时留着旧的，免得一重启就把所有状态写两遍
        draft.status.scaling = replace(
            draft.status.scaling or ScalingStatus(), recommended=decision.recommended, reason=decision.term.value,
            limited_by=decision.limited_by.value, explanation=decision.explanation[: c.CONDITION_MESSAGE_MAX],
            failures=decision.memory.failures,
        )  # fmt: skip


def _report_draining(draft: Draft) -> None:
    if draft.state.workers is None and conditions.reason_of(draft.queue.status.conditions, "Draining"):
        return  # 不知道就不改口
    leaving = [pod for pod in draft.pods if pod.leaving]
    draft.status.draining_replicas = len(leaving)
    late = [pod for pod in leaving if pod.overdue_s >= 0 and pod.running]
    if late:
        draft.report("Draining", True, Reason.DRAIN_TIMED_OUT, f"{late[0].name} still runs tasks after drain.timeoutSeconds")
    elif leaving:
        draft.report("Draining", True, Reason.WORKERS_DRAINING, "workers finish their tasks before they go")
    else:
        draft.report("Draining", False, Reason.NONE)
    if leaving or any(isinstance(action, OrderWorkers) for action in draft.actions):
        draft.again_in(c.OPERATOR_DRAIN_TICK_S)
        draft.again_in(min((-pod.overdue_s for pod in leaving if pod.overdue_s < 0), default=None))
    if any(pod.stage is Stage.STARTING for pod in draft.pods):
        draft.again_in(c.UNREGISTERED_S)


def _events(draft: Draft, rollout: Rollout) -> None:
    target = draft.scaled_to
    if target is None or target == rollout.replicas:
        return
    decision = draft.state.decision
    auto = draft.queue.spec.scaling.mode == "Auto" and decision is not None
    why = f": {decision.explanation}" if auto and decision else ""
    name = "ScaledUp" if target > rollout.replicas else "ScaledDown"
    draft.events.append(Event("Normal", name, f"from {rollout.replicas} to {target} workers{why}"))
    if rollout.replicas == 0:
        draft.events.append(Event("Normal", "Activated", "from zero workers"))
    elif target == 0:
        draft.events.append(Event("Normal", "Deactivated", "to zero workers"))
