"""Migration Jobs as they are: what the API server says of a Job and of its pods, read into one fact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from taskmill.kube import names
from taskmill.kube.crd.model import parse_time
from taskmill.kube.plan import pod_workers
from taskmill.kube.render.migration_job import CONTAINER
from taskmill.kube.state import Manifest


class JobState(StrEnum):
    """Where a Job stands. ENDING: it has failed or is being deleted, but a pod of it may still run."""

    SUSPENDED = "suspended"
    ACTIVE = "active"
    ENDING = "ending"
    FAILED = "failed"
    DONE = "done"


class Result(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """What a migration says in its termination message."""

    before: Any = None
    after: Any = None
    ahead: bool = False
    phase: str = ""


@dataclass(frozen=True, slots=True)
class JobFact:
    """One migration Job. `exit_code` and `words` are those of the pod that ended last; `asked_by`: a TaskQueue's name;
    `refused`: why the API server let it make no pod; `template`: a hash of its pod; `ran`: whether its migration may ever have run; `lingers`: the migration is over, and
    something else in its pod runs on.
    """

    manifest: Manifest
    name: str
    bundle: str
    phase: str
    attempt: int
    state: JobState
    marks: frozenset[str]
    manual: bool
    asked_by: str
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    words: str
    why: str
    result: Result | None
    refused: str
    template: str
    pods: tuple[Manifest, ...]
    ran: bool
    lingers: bool

    @property
    def finished(self) -> bool:
        """Say whether no pod of it can run any more."""
        return self.state in {JobState.FAILED, JobState.DONE}


def read(jobs: Iterable[Manifest], pods: Sequence[Manifest], refusals: Mapping[str, str] | None = None) -> list[JobFact]:
    """Return the facts of all migration Jobs, by attempt; `refusals`: by name of the Job, why it has no pod."""
    found = (_fact(job, pods, (refusals or {}).get(job["metadata"]["name"], "")) for job in jobs)
    return sorted(found, key=lambda fact: (fact.attempt, fact.name))


def _fact(job: Manifest, pods: Sequence[Manifest], refused: str) -> JobFact:
    status: Mapping[str, Any] = job.get("status") or {}
    conditions = {str(each["type"]): each for each in status.get("conditions") or () if each.get("status") == "True"}
    failed = conditions.get("Failed") or conditions.get("FailureTarget") or {}
    over = conditions.get("Complete") or conditions.get("Failed") or {}
    own = tuple(pod for pod in pods if names.label(pod, names.JOB_NAME) == job["metadata"]["name"])
    noted = names.annotation(job, names.MIGRATION_DONE)
    ends = [end for pod in own if (end := _end(pod))]
    last = _noted(noted) if noted else max(ends, key=_finished_at, default={})
    done = next((end for end in (last, *ends) if end.get("exitCode") == 0), None)
    words = str((done or last).get("message") or "").strip()
    attempt = names.label(job, names.LABEL_ATTEMPT)
    return JobFact(
        manifest=job,
        name=str(job["metadata"]["name"]),
        bundle=names.label(job, names.LABEL_BUNDLE),
        phase=names.label(job, names.LABEL_PHASE),
        attempt=int(attempt) if attempt.isdigit() else 0,
        state=JobState.DONE if done else _state(job, conditions),
        marks=frozenset(filter(None, names.annotation(job, names.MIGRATION_MARKS).split(","))),
        manual=names.annotation(job, names.MIGRATION_POLICY) == "Manual",
        asked_by=names.annotation(job, names.MIGRATION_ASKED_BY),
        started_at=parse_time(status.get("startTime")),
        ended_at=parse_time(over.get("lastTransitionTime") or (done or {}).get("finishedAt")),
        exit_code=(done or last).get("exitCode"),
        words=words,
        why=" ".join(str(failed[key]) for key in ("reason", "message") if failed.get(key)),
        result=_result(words),
        refused=refused,
        template=names.annotation(job, names.MIGRATION_TEMPLATE),
        pods=own,
        ran=_may_have_run(status, own),
        lingers=done is not None and not noted and "Complete" not in conditions and any(_runs_on(pod) for pod in own),
    )


def _state(job: Manifest, conditions: Mapping[str, Any]) -> JobState:
    if "Complete" in conditions:
        return JobState.DONE
    if "Failed" in conditions and not job["metadata"].get("deletionTimestamp"):
        return JobState.FAILED
    if "FailureTarget" in conditions or job["metadata"].get("deletionTimestamp"):
        return JobState.ENDING
    return JobState.SUSPENDED if job["spec"].get("suspend") else JobState.ACTIVE


def _end(pod: Manifest) -> Mapping[str, Any] | None:
    """迁移的那个容器的遗言；注入的边车不算。"""
    ended = [status["state"].get("terminated") for status in _statuses(pod) if status.get("name") == CONTAINER]
    return next(filter(None, ended), None)


def _may_have_run(status: Mapping[str, Any], pods: Sequence[Manifest]) -> bool:
    """看到的、没看到的 Pod 里，迁移是否可能跑起来过；拿不准就当跑过。注入的边车跑没跑不算。"""
    counted = any(status.get(each) for each in ("failed", "succeeded", "ready", "terminating", "uncountedTerminatedPods"))
    return counted or int(status.get("active") or 0) > len(pods) or any(_has_run(pod) for pod in pods)


def _has_run(pod: Manifest) -> bool:
    own = [each for each in pod_workers.containers(pod) if each.get("name") == CONTAINER]
    if not own:  # 被驱逐的 Pod 可能什么都不留下
        return (pod.get("status") or {}).get("phase") in {"Running", *pod_workers.ENDED}
    states = [each.get(which) or {} for each in own for which in ("state", "lastState")]
    return any(state.get("running") or state.get("terminated") for state in states)


def _runs_on(pod: Manifest) -> bool:
    """迁移结束了，别的容器还在跑，或者起不来：这样的 Job 永远不会自己结束。"""
    end = _end(pod)
    return (
        end is not None and end.get("exitCode") == 0 and not all(each["state"].get("terminated") for each in _statuses(pod))
    )


def _statuses(pod: Manifest) -> list[Mapping[str, Any]]:
    return [each for each in (pod.get("status") or {}).get("containerStatuses") or () if each.get("state")]


def _noted(text: str) -> Mapping[str, Any]:
    at, _, words = text.partition(" ")
    return {"exitCode": 0, "finishedAt": at, "message": words}


def _finished_at(end: Mapping[str, Any]) -> str:
    return str(end.get("finishedAt") or "")


def _result(words: str) -> Result | None:
    """结果是最后一行 JSON；失败的 Pod 留下的可能只是日志。"""
    lines = words.splitlines()
    try:
        return msgspec.json.decode(lines[-1], type=Result) if lines and lines[-1].startswith("{") else None
    except msgspec.MsgspecError:
        return None
