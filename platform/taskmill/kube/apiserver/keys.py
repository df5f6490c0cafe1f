"""Which object of ours a round is about."""

from __future__ import annotations

from dataclasses import dataclass

from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.kinds import Kind
from taskmill.kube.state import Manifest


@dataclass(frozen=True, slots=True)
class Key:
    """A TaskQueue or TaskSchedule by namespace and name."""

    kind: Kind
    namespace: str
    name: str

    @classmethod
    def of(cls, kind: Kind, manifest: Manifest) -> Key:
        """Return the key of an object of ours."""
        return cls(kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])

    @classmethod
    def queue(cls, namespace: str, name: str) -> Key:
        """Return the key of a TaskQueue."""
        return cls(k.TASK_QUEUE, namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
