"""What one pod reports: its containers' states plus what the kubelet itself decided."""

from __future__ import annotations

from collections.abc import Sequence

from tests.cluster.kubelet import status
from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.container import Runner
from tests.cluster.kubelet.context import PodContext


class PodStatus:
    """The status of a pod on this node."""

    def __init__(self, context: PodContext, inits: Sequence[Runner], mains: Sequence[Runner]) -> None:
        self.sandbox = False
        self.reason = ""
        self._message = self._since = ""
        self._context = context
        self._inits = [runner.view for runner in inits]
        self._mains = [runner.view for runner in mains]
        self._started = (context.pod.get("status") or {}).get("startTime") or status.now()
        self._ending = False
        self._made: list[Json] = []  # 上次报的条件：缓存里还没有它

    def resume(self) -> None:
        """Take over the counts of a pod that this node ran before it was lost."""
        known = self._context.pod.get("status") or {}
        before = {
            item["name"]: item for key in ("initContainerStatuses", "containerStatuses") for item in known.get(key) or []
        }
        for view in (*self._inits, *self._mains):
            old = before.get(view.name)
            if old and old.get("containerID"):
                view.restarts = old["restartCount"] + 1
                view.last = _lost(old)

    def evicted(self, message: str) -> None:
        """The node is short of a resource and this pod has to go."""
        self.reason, self._message, self._since = "Evicted", message, status.now()

    def end(self) -> None:
        """No container will be started again: what never ran counts as failed, what waited for a restart as ended."""
        self._ending = True
        for view in self._mains:
            if "waiting" in view.state:
                view.state = view.last if "terminated" in view.last else _unknown()
                view.ready = view.started = False

    def json(self) -> Json:
        """Return the status for the API."""
        pod = self._context.pod
        found = status.phase(pod["spec"], self._inits, self._mains, ending=self._ending)
        if self.reason and self._ending:
            found = "Failed"
        known = (pod.get("status") or {}).get("conditions") or []
        gates = {gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []}
        opened = {gate: any(c["type"] == gate and c["status"] == "True" for c in known) for gate in gates}
        wanted = status.conditions(self._inits, self._mains, phase=found, sandbox=self.sandbox, gates=opened)
        self._made = status.entries(wanted, self._made or known)
        made = [*self._made, self._disruption()] if self.reason else self._made
        answer: Json = {
            "phase": found,
            "conditions": made,
            "observedGeneration": pod["metadata"].get("generation"),
            "hostIP": self._context.host_address,
            "hostIPs": [{"ip": self._context.host_address}],
            "podIP": self._context.address,
            "podIPs": [{"ip": self._context.address}],
            "startTime": self._started,
            "initContainerStatuses": [{**view.json(), "ready": view.exit_code == 0} for view in self._inits],
            "containerStatuses": [view.json() for view in self._mains],
        }
        if self.reason:
            answer |= {"reason": self.reason, "message": self._message}
        return answer

    def _disruption(self) -> Json:
        return {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": self._message,
            "lastTransitionTime": self._since,
        }


def _unknown() -> Json:
    ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container was never started"}
    return {"terminated": {**ended, "startedAt": None, "finishedAt": None}}


def _lost(before: Json) -> Json:
    """Return the last state of a container that ended while nobody looked."""
    if "terminated" in before.get("state", {}):
        return before["state"]
    message = "The container could not be located when the pod was terminated"
    started = before.get("state", {}).get("running", {}).get("startedAt")
    ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": message}
    return {"terminated": {**ended, "startedAt": started, "finishedAt": status.now()}}
