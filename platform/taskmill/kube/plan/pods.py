"""The stage that looks at pods: why they don't start, how they died, and whether scaling in cut one short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from taskmill.kube import names
from taskmill.kube.crd.model import parse_time
from taskmill.kube.plan import pod_workers, symptoms
from taskmill.kube.plan.draft import Draft
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.plan.rollout import TEMPLATE_HASH
from taskmill.kube.state import Manifest, RecordDeath
from taskmill.services.fleet import Cause

ROUNDING: Final = timedelta(seconds=1) - timedelta.resolution  # Kubernetes 的时刻只到秒，零头舍去
UNREACHABLE: Final = frozenset({"DeletionByPodGC", "DeletionByTaintManager"})


def trouble(draft: Draft) -> tuple[Reason, str] | None:
    """Return why workers that are wanted don't come up, the gravest reason first."""
    rollout = draft.rollout
    if rollout is not None and rollout.refused:
        return (Reason.QUOTA_EXCEEDED if symptoms.is_quota(rollout.refused) else Reason.PODS_REFUSED), rollout.refused
    found = symptoms.gravest([pod for pod in draft.state.pods if pod_workers.is_active(pod)], draft.state.now)
    if found is None:
        return None
    if found.due_s > 0:
        draft.again_in(found.due_s)
        return None
    return found.reason, found.words


def record_deaths(draft: Draft) -> None:
    """Have the database told how containers died whose workers it still takes for living."""
    living = {worker.pod_uid: worker for worker in draft.state.workers or ()}
    for pod in draft.state.pods:
        uid = pod_workers.uid_of(pod)
        worker = living.get(uid)
        for cause, at in _deaths(pod) if worker else ():
            if worker is not None and worker.started_at <= at:
                draft.actions.append(RecordDeath(uid, cause, at))


def count_interrupted(draft: Draft) -> None:
    """Count the tasks of pods that scaling in took although they were busy, each pod once."""
    known, total = draft.state.interrupted_known, draft.queue.status.interrupted_total or 0
    draft.status.interrupted_total = total
    if known is None or draft.rollout is None or draft.rollout.rolling:
        return
    workers = pod_workers.newest_workers(draft.state.workers or ())
    wrong: dict[str, int] = {}
    for pod in draft.state.pods:
        uid, worker = pod_workers.uid_of(pod), workers.get(pod_workers.uid_of(pod))
        if worker is None or worker.running == 0 or uid in known or not _was_taken(draft, pod):
            continue
        told = draft.state.drain_since.get(uid)
        expired = told is not None and (draft.state.now - told).total_seconds() >= draft.queue.spec.drain.timeout_seconds
        if not expired:
            wrong[uid] = worker.running
    draft.interrupted = tuple(sorted(wrong))
    draft.status.interrupted_total = total + sum(wrong.values())


def _was_taken(draft: Draft, pod: Manifest) -> bool:
    """正被删除、属于最新模板、不是驱逐也不是节点的事：只剩缩容（或有人手工删）。"""
    newest = draft.rollout.newest_hash if draft.rollout else ""
    deleted = bool(pod["metadata"].get("deletionTimestamp"))
    return deleted and names.label(pod, TEMPLATE_HASH) == newest and _disrupted(pod) is None


def _deaths(pod: Manifest) -> Iterator[tuple[str, datetime]]:
    """容器怎么死的、何时：内存不足、被驱逐、节点没了、自己崩了。"""
    outside, timed = _disrupted(pod), False
    for status in pod_workers.containers(pod):
        for state in (status.get("lastState") or {}, status.get("state") or {}):
            ended = state.get("terminated") or {}
            at = parse_time(ended.get("finishedAt"))
            if at is None or (ended.get("exitCode") == 0 and outside is None):
                continue
            timed = True
            yield _cause(ended, outside[0] if outside else None), at + ROUNDING
    if outside is None:
        return
    # 驱逐时 kubelet 可能已找不到容器（ContainerStatusUnknown），那就没有结束的时刻；Pod 既已失败，里面的就都没了
    unseen = not timed and (pod.get("status") or {}).get("phase") == "Failed"
    if outside[0] is Cause.NODE_LOST:
        yield outside[0].value, outside[1]
    elif unseen:
        yield outside[0].value, outside[1] + ROUNDING


def _cause(ended: Mapping[str, Any], outside: Cause | None) -> str:
    if ended.get("reason") == "OOMKilled":
        return Cause.OOM.value
    return (outside or Cause.CRASH).value


def _disrupted(pod: Manifest) -> tuple[Cause, datetime] | None:
    """集群自己要它走：驱逐、抢占、污点；节点失联另算。"""
    status: Mapping[str, Any] = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            at = parse_time(condition.get("lastTransitionTime"))
            lost = condition.get("reason") in UNREACHABLE
            return (Cause.NODE_LOST if lost else Cause.EVICTED, at) if at else None
    at = parse_time(pod["metadata"].get("deletionTimestamp") or status.get("startTime"))
    if status.get("reason") in {"Evicted", "NodeLost"} and at:
        return (Cause.NODE_LOST if status["reason"] == "NodeLost" else Cause.EVICTED, at)
    return None
