"""The stage of beginnings and ends: the finalizer, and what happens to workers when their TaskQueue is deleted."""

from __future__ import annotations

from typing import Final

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.plan import drain
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.render import workers as manifests
from taskmill.kube.state import Apply, Manifest, SetFinalizer

_OURS: Final = (f"{names.GROUP}/", "app.kubernetes.io/")


def is_deleted(draft: Draft) -> bool:
    """See to a TaskQueue that is being deleted; False if it is not."""
    queue, state = draft.queue, draft.state
    if queue.deleted_at is None:
        return False
    if names.FINALIZER not in queue.finalizers:
        draft.not_ready(Reason.DRAINING, "is being deleted", going=True)
        return True
    policy = queue.spec.deletion_policy
    forced = queue.annotations.get(names.FORCE_DELETE) == "true" or state.namespace_terminating
    if policy == "Orphan" and not state.namespace_terminating:
        kept = not state.scaler_owns_replicas  # 只有我们一家拥有 replicas 时，漏掉它就会变回默认的 1
        draft.actions += [Apply(_orphan(live, kept), "留下不管") for live in _children(draft)]
        draft.actions.append(SetFinalizer(present=False))
    elif forced or policy != "Drain" or draft.deployment is None or not manifests.controller(draft.deployment):
        draft.actions.append(SetFinalizer(present=False))
    else:
        _drain(draft)
    draft.not_ready(Reason.DRAINING, "is being deleted; running tasks are finished first", going=True)
    return True


def keep_finalizer(draft: Draft) -> None:
    """Have the finalizer exactly while there is something to finish or to leave behind, and before pods are made."""
    queue = draft.queue
    policy = queue.spec.deletion_policy
    replicas = draft.rollout.replicas if draft.rollout else 0
    pods = bool(draft.pods) or replicas > 0 or bool(draft.scaled_to)
    present = policy == "Orphan" or (policy == "Drain" and pods)
    if present != (names.FINALIZER in queue.finalizers):
        draft.actions.insert(0, SetFinalizer(present))


def _drain(draft: Draft) -> None:
    """停止领取，跑完手上的，然后放手：垃圾回收会删掉 Deployment。没被领取的任务留在数据库里。"""
    queue, state, found = draft.queue, draft.state, draft.pods
    limit = queue.spec.drain
    waited_s = (state.now - queue.deleted_at).total_seconds() if queue.deleted_at else 0.0
    if not found or (state.workers is not None and drain.is_over(found)):
        draft.actions.append(SetFinalizer(present=False))
        return
    if waited_s >= limit.timeout_seconds and limit.on_timeout == "Requeue":
        busy = sum(pod.running for pod in found)
        draft.report("Draining", True, Reason.DRAIN_TIMED_OUT, f"{busy} tasks are handed back")
        draft.actions.append(SetFinalizer(present=False))
        return
    if state.workers is not None:
        draft.actions += drain.order_all(found)
    draft.report("Draining", True, Reason.WORKERS_DRAINING, "the workers finish their tasks, then this object goes")
    draft.again_in(c.OPERATOR_DRAIN_TICK_S)


def _children(draft: Draft) -> list[Manifest]:
    state = draft.state
    found = (state.service_account, state.disruption_budget, state.deployment)
    return [live for live in found if live is not None and manifests.is_ours(live, draft.queue)]


def _orphan(live: Manifest, replicas: bool) -> Manifest:  # noqa: FBT001 - 副本数要不要随着写
    """同一个对象，没有主人：照现状应用，不改模板，也不碰副本数。"""
    metadata, kept = live["metadata"], {key: value for key, value in live.items() if key not in {"metadata", "status"}}
    if "spec" in kept and not replicas:
        kept["spec"] = {key: value for key, value in kept["spec"].items() if key != "replicas"}
    return {
        **kept,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": _ours(metadata.get("labels") or {}),
            "annotations": _ours(metadata.get("annotations") or {}),
        },
    }


def _ours(values: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key.startswith(_OURS)}
