"""A cluster that obeys: applies the actions of a plan to its objects, so that tests can go round after round."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from taskmill.kube.plan.plan import plan
from taskmill.kube.state import (
    Apply,
    Create,
    Delete,
    DeletionCost,
    OrderWorkers,
    Plan,
    PutPolicy,
    RecordDeath,
    Scale,
    ScaleQueue,
    SetFinalizer,
    State,
)
from taskmill.services.fleet import Order, QueuePolicy, WorkerFact

from .objects import at, decision, job_of, job_pod, live, pod, queue, replica_set, state, worker

RESULT = '{"from": "0001", "to": "0002", "ahead": false, "applied": ["0002"], "ms": 12, "phase": "expand"}'


@dataclass
class Lab:
    """`facts` override what the lab's objects say."""

    manifest: dict[str, Any] = field(default_factory=queue)
    facts: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    job_pods: list[dict[str, Any]] = field(default_factory=list)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    workers: dict[str, WorkerFact] = field(default_factory=dict)
    policy: QueuePolicy = field(default_factory=QueuePolicy)
    replicas: int = 0
    owned: bool = False
    age: float = 0.0
    log: list[Any] = field(default_factory=list)
    buried: list[RecordDeath] = field(default_factory=list)

    def state(self) -> State:
        deployment = self.objects.get("Deployment")
        sets = (replica_set(deployment, ready=self._ready(), replicas=self.replicas),) if deployment else ()
        base = state(self.manifest)
        made = replace(
            base,
            now=base.now + timedelta(seconds=self.age),
            deployment=live(deployment, replicas=self.replicas, ready=self._ready()) if deployment else None,
            scaler_owns_replicas=self.owned,
            replica_sets=sets,
            pods=tuple(self.pods.values()),
            jobs=tuple(self.jobs.values()),
            job_pods=tuple(self.job_pods),
            disruption_budget=self.objects.get("PodDisruptionBudget"),
            service_account=self.objects.get("ServiceAccount"),
            workers=tuple(self.workers.values()),
            policy=self.policy,
        )
        return replace(made, **self.facts)

    def round(self) -> Plan:
        made = plan(self.state())
        for action in made.actions:
            self._do(action)
        if made.status:
            self.manifest["status"] = copy.deepcopy(made.status)
        self.log += made.events
        return made

    def settle(self, rounds: int = 12) -> Plan:
        """Go on until a round does nothing, with Jobs that succeed and pods that come up."""
        for _ in range(rounds):
            before = copy.deepcopy(self.manifest["status"])
            made = self.round()
            if not made.actions and made.status == before:
                return made
            self.finish_jobs()
            self.pods_come()
        raise AssertionError(made)

    def finish_jobs(self) -> None:
        for name, manifest in self.jobs.items():
            if not manifest["status"]["conditions"] and not manifest["spec"].get("suspend"):
                self.jobs[name] = job_of(manifest, done=True)
                self.job_pods.append(job_pod(manifest, code=0, message=RESULT))

    def pods_come(self) -> None:
        bundle = ""
        if deployment := self.objects.get("Deployment"):
            bundle = deployment["metadata"]["annotations"]["taskmill.dev/bundle"]
        for number in range(self.replicas):
            name = f"p{number}"
            if len(self.pods) < self.replicas and name not in self.pods:
                self.pods[name], self.workers[name] = pod(name), worker(name, bundle=bundle)
        for name in list(self.pods)[self.replicas :]:
            del self.pods[name], self.workers[name]

    def obey(self) -> None:
        """Let the workers follow their orders and end their tasks."""
        for name, each in self.workers.items():
            done = each.order is Order.DRAIN
            self.workers[name] = replace(
                each, running=0 if done else each.running, order_seen=each.order_token, ready=not done
            )
            self.pods[name]["status"]["conditions"][0]["status"] = "False" if done else "True"

    def _ready(self) -> int:
        return sum(each["status"]["conditions"][0]["status"] == "True" for each in self.pods.values())

    def _do(self, action: Any) -> None:  # noqa: C901, PLR0912 - 一个动作一个分支
        match action:
            case Apply(manifest):
                self.objects[manifest["kind"]] = copy.deepcopy(manifest)
                if manifest["kind"] == "Deployment" and "replicas" in manifest["spec"]:
                    self.replicas = manifest["spec"]["replicas"]
            case Create(manifest):
                self.jobs.setdefault(manifest["metadata"]["name"], job_of(manifest))
            case Delete(manifest):
                self.objects.pop(manifest["kind"], None)
                self.jobs.pop(manifest["metadata"]["name"], None)
            case Scale(_, replicas):
                self.replicas, self.owned = replicas, True
            case ScaleQueue(replicas):
                self.manifest["spec"]["replicas"] = replicas
            case OrderWorkers(uids, order):
                for name, each in self.workers.items():
                    if each.pod_uid in uids:
                        self.workers[name] = replace(each, order=order, order_token=each.order_token + 1)
            case DeletionCost(name, cost):
                annotations = self.pods[name]["metadata"].setdefault("annotations", {})
                annotations["controller.kubernetes.io/pod-deletion-cost"] = str(cost) if cost is not None else ""
            case SetFinalizer(present):
                self.manifest["metadata"]["finalizers"] = ["taskmill.dev/drain"] if present else []
            case PutPolicy(_, change, by):
                values = change.values()
                paused = values.pop("paused", self.policy.paused)
                self.policy = QueuePolicy(
                    paused=paused, paused_by=by if paused else None, settings={**self.policy.settings, **values}
                )
            case RecordDeath():
                self.buried.append(action)
            case _:
                raise AssertionError(action)


def running(pods: int = 2, **spec: Any) -> Lab:
    """A queue with so many workers, settled."""
    lab = Lab(queue(**spec), {"decision": decision(pods)})
    lab.settle()
    return lab


def deleted(lab: Lab, **metadata: Any) -> Lab:
    """The same, being deleted."""
    lab.manifest["metadata"] |= {"deletionTimestamp": at(), **metadata}
    return lab
