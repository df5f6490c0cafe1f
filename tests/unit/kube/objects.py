"""Kubernetes objects and facts for tests, as the API server and the database would give them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from taskmill.ids import new_id
from taskmill.kube import names
from taskmill.kube.scale.decide import ActiveReason, Decision, Limit, Memory, Term
from taskmill.kube.state import Action, DatabaseFact, Manifest, Options, Plan, SecretFact, State
from taskmill.services.fleet import Order, QueueLoad, QueuePolicy, WorkerFact

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
IDENTITY = "d1d2d3d4d5d6d7d8"
SPEC: Manifest = {"connection": {"databaseSecretRef": {"name": "db"}, "brokerSecretRef": {"name": "broker"}}}
SECRETS = {
    "db": SecretFact("db", True, frozenset({"url"}), "aa"),
    "broker": SecretFact("broker", True, frozenset({"url"}), "bb"),
}
OPTIONS = Options(default_image="taskmill:1", health_port=8801, instance="taskmill")


def at(seconds: float = 0.0) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def queue(
    name: str = "emails", *, status: Manifest | None = None, metadata: Manifest | None = None, **spec: Any
) -> Manifest:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "TaskQueue",
        "metadata": {
            "name": name,
            "namespace": "app",
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": at(-3600),
            **(metadata or {}),
        },
        "spec": {**copy.deepcopy(SPEC), **spec},
        "status": status or {},
    }


def pod(
    name: str = "p1",
    *,
    phase: str = "Running",
    ready: bool = True,
    template: str = "t1",
    started: float = -600.0,
    metadata: Manifest | None = None,
    status: Manifest | None = None,
    container: Manifest | None = None,
) -> Manifest:
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": at(started)}]
    state = {"running": {"startedAt": at(started)}} if phase == "Running" else {"waiting": {"reason": "ContainerCreating"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "app",
            "uid": f"uid-{name}",
            "creationTimestamp": at(started),
            "labels": {**names.labels("emails"), "pod-template-hash": template},
            **(metadata or {}),
        },
        "spec": {"nodeName": "n1"},
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [
                {"name": "worker", "ready": ready, "restartCount": 0, "state": state, **(container or {})}
            ],
            **(status or {}),
        },
    }


def worker(
    name: str = "p1",
    *,
    running: int = 0,
    order: Order = Order.RUN,
    token: int = 0,
    seen: int | None = None,
    draining: bool = False,
    ready: bool = True,
    bundle: str = "",
    started: float = -600.0,
) -> WorkerFact:
    return WorkerFact(
        id=new_id(),
        pod_uid=f"uid-{name}",
        pod=name,
        queues=("emails",),
        bundle=bundle,
        concurrency=10,
        running=running,
        draining=draining,
        order=order,
        order_token=token,
        order_seen=token if seen is None else seen,
        started_at=NOW + timedelta(seconds=started),
        ready=ready,
    )


def decision(
    pods: int, *, reason: ActiveReason = ActiveReason.COMPUTING, limit: Limit = Limit.NOT_LIMITED, words: str = "because"
) -> Decision:
    return Decision(pods, pods, reason, Term.LOAD, limit, f"{pods} pods: {words}", Memory())


def load(*, ready: int = 0, running: int = 0, wait_s: float = 0.0) -> QueueLoad:
    return QueueLoad("emails", ready, running, 0, wait_s, 0, NOW)


def replica_set(deployment: Manifest, *, ready: int, replicas: int, name: str = "t1", revision: int = 1) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"emails-worker-{name}",
            "namespace": "app",
            "generation": 1,
            "creationTimestamp": at(-600),
            "labels": {**names.labels("emails"), "pod-template-hash": name},
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
        },
        "spec": {"replicas": replicas, "template": {"metadata": deployment["spec"]["template"]["metadata"]}},
        "status": {"replicas": replicas, "readyReplicas": ready, "observedGeneration": 1},
    }


def live(deployment: Manifest, *, replicas: int, ready: int | None = None, **status: Any) -> Manifest:
    """Return a Deployment as it is in the cluster once its controller has seen it."""
    made = copy.deepcopy(deployment)
    made["metadata"] |= {"uid": "uid-deployment", "generation": 1}
    made["spec"]["replicas"] = replicas
    up = replicas if ready is None else ready
    made["status"] = {
        "observedGeneration": 1,
        "replicas": replicas,
        "readyReplicas": up,
        "updatedReplicas": replicas,
        **status,
    }
    return made


def job_of(create: Manifest, *, done: bool = False, failed: str = "", ended: float = -60.0, **status: Any) -> Manifest:
    """Return a Job as the API server has it."""
    made = copy.deepcopy(create)
    made["metadata"] |= {"uid": f"uid-{made['metadata']['name']}", "creationTimestamp": at(-120)}
    conditions = []
    if done:
        conditions = [{"type": "Complete", "status": "True", "lastTransitionTime": at(ended)}]
    elif failed:
        conditions = [
            {"type": "Failed", "status": "True", "reason": failed, "message": "job failed", "lastTransitionTime": at(ended)}
        ]
    made["status"] = {"startTime": at(-120), "conditions": conditions, **status}
    return made


def job_pod(job: Manifest, *, code: int | None = None, message: str = "", **status: Any) -> Manifest:
    """Return a pod of a migration Job: ended with `code`, else as `status` says."""
    name, ended = job["metadata"]["name"], {"exitCode": code, "message": message, "finishedAt": at(-60)}
    phase = "Pending" if code is None else "Failed" if code else "Succeeded"
    containers = [] if code is None else [{"name": "migrate", "state": {"terminated": ended}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-x",
            "namespace": "app",
            "uid": f"{name}-x",
            "labels": {"batch.kubernetes.io/job-name": name},
        },
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def state(manifest: Manifest | None = None, **facts: Any) -> State:
    known: dict[str, Any] = {
        "now": NOW, "queue": manifest or queue(), "options": OPTIONS, "secrets": SECRETS, "database": DatabaseFact(IDENTITY),
        "policy": QueuePolicy(), "workers": (), "load": load(),
        "decision": decision(0), "fencing_token": 7,
    }  # fmt: skip
    return State(**{**known, **facts})


def of(plan: Plan, kind: type[Action]) -> list[Any]:
    """Return the actions of one kind."""
    return [action for action in plan.actions if isinstance(action, kind)]


def condition(plan: Plan, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    found = next(each for each in plan.status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]
