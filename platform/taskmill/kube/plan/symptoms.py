"""Why pods don't come up: workers and migrations alike, read from what kubelet and scheduler write into their status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taskmill.kube import constants as c
from taskmill.kube.crd.model import parse_time
from taskmill.kube.plan import pod_workers
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.state import Manifest

PULL: Final = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
BROKEN: Final = frozenset(
    {"CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)
ORDER: Final = (Reason.IMAGE_PULL_FAILED, Reason.WORKERS_FAILING, Reason.WORKERS_UNSCHEDULABLE)


@dataclass(frozen=True, slots=True)
class Symptom:
    """What is wrong with a pod; `due_s`: seconds until it counts, for what often passes by itself."""

    reason: Reason
    words: str
    due_s: float = 0.0


def gravest(pods: Iterable[Manifest], now: datetime) -> Symptom | None:
    """Return the gravest symptom of all pods: those that count already come first; None if nothing is wrong."""
    found = [each for pod in pods for each in _symptoms(pod, now)]
    return min(found, key=lambda each: (each.due_s, ORDER.index(each.reason)), default=None)


def is_quota(words: str) -> bool:
    """Say whether a refusal of the API server is a quota's, from its words."""
    return "exceeded quota" in words or "failed quota" in words


def _symptoms(pod: Manifest, now: datetime) -> Iterator[Symptom]:
    starting = (pod.get("status") or {}).get("initContainerStatuses") or ()
    for status in (*starting, *pod_workers.containers(pod)):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in PULL:
            yield Symptom(Reason.IMAGE_PULL_FAILED, f"{status.get('image', 'image')}: {message or reason}")
        elif reason in BROKEN or (int(status.get("restartCount") or 0) >= c.RESTARTS_FAILING and not status.get("ready")):
            yield Symptom(Reason.WORKERS_FAILING, _last_words(pod, status, message or reason))
    conditions: Sequence[Mapping[str, Any]] = (pod.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            since = parse_time(condition.get("lastTransitionTime")) or now
            due_s = max(0.0, c.UNSCHEDULABLE_S - (now - since).total_seconds())
            yield Symptom(Reason.WORKERS_UNSCHEDULABLE, str(condition.get("message") or "Unschedulable"), due_s)


def _last_words(pod: Manifest, status: Mapping[str, Any], otherwise: str) -> str:
    ended = (status.get("lastState") or {}).get("terminated") or (status.get("state") or {}).get("terminated") or {}
    words = str(ended.get("message") or "").strip().splitlines()
    text = words[-1] if words else ended.get("reason") or otherwise
    code = f" (exit {ended['exitCode']})" if "exitCode" in ended else ""
    return f"{pod['metadata']['name']}: {text}{code}"
