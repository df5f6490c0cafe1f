"""Why a Job has no pod: what a quota or a policy refuses is told nowhere but in the events of the Job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver.failures import KubeError
from taskmill.kube.crd.model import parse_time
from taskmill.kube.state import Manifest
from taskmill.log import get_logger

log = get_logger(__name__)
REFUSED = "FailedCreate"


class Reader(Protocol):
    """The one call that is needed; `KubeClient` has it."""

    async def events(self, namespace: str, about: str, reason: str) -> list[Manifest]:
        """Return the events with this reason about the object of this name."""
        ...


class Refusals:
    """Asks for the events of Jobs that have no pod after JOB_POD_S, each at most every JOB_LOOK_S."""

    def __init__(self, reader: Reader, clock: Clock = SYSTEM_CLOCK) -> None:
        self._reader, self._clock = reader, clock
        self._known: dict[str, tuple[float, str]] = {}  # Job 的 uid → 何时问的，说了什么

    async def of(self, jobs: Iterable[Manifest], pods: Sequence[Manifest]) -> dict[str, str]:
        """Return by name of the Job what its last refusal says."""
        jobs = tuple(jobs)
        made = {names.label(pod, names.JOB_NAME) for pod in pods}
        waiting = [job for job in jobs if job["metadata"]["name"] not in made and _waits(job, self._clock.now())]
        for uid in {job["metadata"]["uid"] for job in jobs} - {job["metadata"]["uid"] for job in waiting}:
            self._known.pop(uid, None)
        told = {job["metadata"]["name"]: await self._told(job) for job in waiting}
        return {name: words for name, words in told.items() if words}

    def keep_only(self, uids: set[str]) -> None:
        """Forget the Jobs that are gone."""
        for uid in self._known.keys() - uids:
            del self._known[uid]

    async def _told(self, job: Manifest) -> str:
        metadata, now = job["metadata"], self._clock.monotonic()
        asked_at, words = self._known.get(metadata["uid"], (float("-inf"), ""))
        if now - asked_at >= c.JOB_LOOK_S:
            try:
                found = await self._reader.events(metadata["namespace"], metadata["name"], REFUSED)
            except KubeError as error:  # 旧的角色没有读事件的权限，或一时读不到：上次听到的照旧
                log.debug("读不到 Job 的事件", job=metadata["name"], error=str(error))
            else:
                own = [each for each in found if (each.get("regarding") or {}).get("uid") == metadata["uid"]]
                words = str(max(own, key=_at, default={}).get("note") or "")
            self._known[metadata["uid"]] = (now, words)
        return words


def _waits(job: Manifest, now: datetime) -> bool:
    status: Mapping[str, Any] = job.get("status") or {}
    began = parse_time(status.get("startTime"))
    ended = any(each.get("status") == "True" for each in status.get("conditions") or ())
    return began is not None and not ended and (now - began).total_seconds() >= c.JOB_POD_S


def _at(event: Manifest) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("eventTime") or event.get("deprecatedLastTimestamp") or "")
