"""How far the newest template is: read from a Deployment and its ReplicaSets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskmill.kube import names
from taskmill.kube.state import Manifest

REVISION: Final = "deployment.kubernetes.io/revision"
TEMPLATE_HASH: Final = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Rollout:
    """`rolling`: old pods are left, or the new template has no ReplicaSet yet. `busy`: that, or the Deployment
    controller has not caught up or is paused, so that lowering the number could hit a pod of the old template.
    """

    replicas: int
    total: int
    ready: int
    updated: int
    rolling: bool
    busy: bool
    stuck: str
    newest: Manifest | None
    refused: str

    @property
    def newest_hash(self) -> str:
        """Return the template hash of the newest ReplicaSet, empty without one."""
        return names.label(self.newest, TEMPLATE_HASH) if self.newest else ""

    def settled(self, ready: int) -> bool:
        """Say whether the ReplicaSet controller has seen what we see: the same number of ready pods, nothing to do."""
        if self.newest is None:
            return False
        status: Mapping[str, Any] = self.newest.get("status") or {}
        seen = int(status.get("observedGeneration") or 0) >= int(self.newest["metadata"].get("generation") or 0)
        same = int(self.newest["spec"].get("replicas") or 0) == self.replicas
        return seen and same and int(status.get("readyReplicas") or 0) == ready


def read(deployment: Manifest, replica_sets: Sequence[Manifest]) -> Rollout:
    """Return where the rollout stands."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    newest = max(replica_sets, key=_revision, default=None)
    replicas = int(spec.get("replicas", 1))
    seen = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    old = [each for each in replica_sets if each is not newest and _pods(each)]
    wanted = config(spec.get("template"))
    started = newest is not None and config(newest["spec"].get("template")) == wanted
    rolling = bool(old) or (not started and replicas > 0)
    conditions = {str(each["type"]): each for each in status.get("conditions") or ()}
    progressing, failure = conditions.get("Progressing") or {}, _replica_failure(conditions, newest)
    return Rollout(
        replicas=replicas,
        total=int(status.get("replicas") or 0),
        ready=int(status.get("readyReplicas") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        rolling=rolling,
        busy=rolling or not seen or bool(spec.get("paused")),
        stuck=str(progressing.get("message") or "") if progressing.get("reason") == "ProgressDeadlineExceeded" else "",
        newest=newest,
        refused=failure,
    )


def config(template: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return what a template of ours is known by: whatever rolls the workers differs in one of the two.

    The bundle has what the hash of the configuration has not: whether a newer schema is allowed.
    """
    return names.annotation(template, names.CONFIG_HASH), names.annotation(template, names.BUNDLE)


def _revision(replica_set: Manifest) -> tuple[int, str]:
    text = names.annotation(replica_set, REVISION)
    return (int(text) if text.isdigit() else 0, str(replica_set["metadata"].get("creationTimestamp") or ""))


def _pods(replica_set: Manifest) -> int:
    status: Mapping[str, Any] = replica_set.get("status") or {}
    return int(replica_set["spec"].get("replicas") or 0) + int(status.get("replicas") or 0)


def _replica_failure(conditions: Mapping[str, Mapping[str, Any]], newest: Manifest | None) -> str:
    """建不出 Pod 的原因（配额、准入）：Deployment 或最新 ReplicaSet 的 ReplicaFailure。"""
    found = [conditions.get("ReplicaFailure") or {}]
    found += [
        each for each in ((newest or {}).get("status") or {}).get("conditions") or () if each["type"] == "ReplicaFailure"
    ]
    return next((str(each.get("message") or each.get("reason")) for each in found if each.get("status") == "True"), "")
