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
    """One migration Job. `exit_code` and `words` are those of the pod that ended last; `asked_by`: a TaskQueue's name."""

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

    @property
    def finished(self) -> bool:
        """Say whether no pod of it can run any more."""
        return self.state in {JobState.FAILED, JobState.DONE}


def read(jobs: Iterable[Manifest], pods: Sequence[Manifest]) -> list[JobFact]:
    """Return the facts of all migration Jobs, by attempt."""
    return sorted((_fact(job, pods) for job in jobs), key=lambda fact: (fact.attempt, fact.name))


def _fact(job: Manifest, pods: Sequence[Manifest]) -> JobFact:
    status: Mapping[str, Any] = job.get("status") or {}
    conditions = {str(each["type"]): each for each in status.get("conditions") or () if each.get("status") == "True"}
    failed = conditions.get("Failed") or conditions.get("FailureTarget") or {}
    ended = conditions.get("Complete") or conditions.get("Failed") or {}
    last = _last_end(job["metadata"]["name"], pods)
    words = str(last.get("message") or "").strip()
    attempt = names.label(job, names.LABEL_ATTEMPT)
    return JobFact(
        manifest=job,
        name=str(job["metadata"]["name"]),
        bundle=names.label(job, names.LABEL_BUNDLE),
        phase=names.label(job, names.LABEL_PHASE),
        attempt=int(attempt) if attempt.isdigit() else 0,
        state=_state(job, conditions),
        marks=frozenset(filter(None, names.annotation(job, names.MIGRATION_MARKS).split(","))),
        manual=names.annotation(job, names.MIGRATION_POLICY) == "Manual",
        asked_by=names.annotation(job, names.MIGRATION_ASKED_BY),
        started_at=parse_time(status.get("startTime")),
        ended_at=parse_time(ended.get("lastTransitionTime")),
        exit_code=last.get("exitCode"),
        words=words,
        why=" ".join(str(failed[key]) for key in ("reason", "message") if failed.get(key)),
        result=_result(words),
    )


def _state(job: Manifest, conditions: Mapping[str, Any]) -> JobState:
    if "Complete" in conditions:
        return JobState.DONE
    if "Failed" in conditions and not job["metadata"].get("deletionTimestamp"):
        return JobState.FAILED
    if "FailureTarget" in conditions or job["metadata"].get("deletionTimestamp"):
        return JobState.ENDING
    return JobState.SUSPENDED if job["spec"].get("suspend") else JobState.ACTIVE


def _last_end(job: str, pods: Sequence[Manifest]) -> Mapping[str, Any]:
    """最后结束的那个容器的遗言。"""
    ends = [
        status["state"]["terminated"]
        for pod in pods
        if names.label(pod, "batch.kubernetes.io/job-name") == job or names.label(pod, "job-name") == job
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
        if (status.get("state") or {}).get("terminated")
    ]
    return max(ends, key=_finished_at, default={})


def _finished_at(end: Mapping[str, Any]) -> str:
    return str(end.get("finishedAt") or "")


def _result(words: str) -> Result | None:
    """结果是最后一行 JSON；失败的 Pod 留下的可能只是日志。"""
    lines = words.splitlines()
    try:
        return msgspec.json.decode(lines[-1], type=Result) if lines and lines[-1].startswith("{") else None
    except msgspec.MsgspecError:
        return None
