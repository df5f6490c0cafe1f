"""The status of a pod from the states of its containers, by the kubelet's rules. No input or output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.cluster.kubelet.api import Json

OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def now() -> str:
    """Return the time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Container:
    """What is known of one container."""

    name: str
    image: str
    state: Json = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Json = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    @property
    def exit_code(self) -> int | None:
        """The exit code if it has ended."""
        ended = self.state.get("terminated")
        return None if ended is None else ended["exitCode"]

    @property
    def begun(self) -> bool:
        """Whether it has ever run."""
        return "waiting" not in self.state or bool(self.last)

    def json(self) -> Json:
        """Return the entry for containerStatuses."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"local://{self.image}" if self.container_id else "",
            "containerID": self.container_id,
            "state": self.state,
            "lastState": self.last,
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
        }


def phase(spec: Json, inits: Sequence[Container], mains: Sequence[Container], *, ending: bool) -> str:
    """Return the phase; `ending`: the pod was told to stop, so that containers are not restarted."""
    policy = spec.get("restartPolicy", "Always")
    if any(c.exit_code not in (None, 0) for c in inits) and (policy == "Never" or ending):
        return "Failed"
    if any("running" in c.state for c in mains):
        return "Running"
    if not ending and not (all(c.begun for c in mains) and all(c.exit_code == 0 for c in inits)):
        return "Pending"
    codes = [c.exit_code for c in mains]
    if not ending and (policy == "Always" or None in codes):
        return "Running"
    if all(code == 0 for code in codes):
        return "Succeeded"
    return "Failed" if ending or policy == "Never" else "Running"


def conditions(
    inits: Sequence[Container], mains: Sequence[Container], *, phase: str, sandbox: bool, gates: Mapping[str, bool]
) -> dict[str, tuple[bool, str]]:
    """Return type → (status, reason); `gates` are the readiness gates."""
    unready = [c.name for c in mains if not c.ready]
    initialized = all(c.exit_code == 0 for c in inits)
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        finished = reason if phase == "Succeeded" else ""
        return {
            "PodReadyToStartContainers": (False, ""),
            "Initialized": (initialized or phase == "Succeeded", finished),
            "Ready": (False, reason),
            "ContainersReady": (False, reason),
            "PodScheduled": (True, ""),
        }
    containers = (not unready and initialized, "" if not unready else "ContainersNotReady")
    shut = [name for name, is_open in gates.items() if not is_open]
    ready = containers if not containers[0] or not shut else (False, "ReadinessGatesNotReady")
    return {
        "PodReadyToStartContainers": (sandbox, ""),
        "Initialized": (initialized, "" if initialized else "ContainersNotInitialized"),
        "Ready": ready,
        "ContainersReady": containers,
        "PodScheduled": (True, ""),
    }


def entries(wanted: Mapping[str, tuple[bool, str]], before: Sequence[Json]) -> list[Json]:
    """Return the conditions for the API; the time of the last change is kept where nothing changed."""
    old = {item["type"]: item for item in before}
    made: list[Json] = []
    for kind, (holds, reason) in wanted.items():
        status = "True" if holds else "False"
        same = kind in old and old[kind]["status"] == status
        since = old[kind].get("lastTransitionTime") if same else None
        # 合并补丁里 null 会删掉旧的原因
        made.append({"type": kind, "status": status, "lastTransitionTime": since or now(), "reason": reason or None})
    return made
