"""Mishaps that somebody without access to the kubelet's methods asks for: an annotation of the pod.

`kubectl annotate pod NAME kubelet.test/do=oom`; also `evict` and `kill`. A second time needs another value: `kill-2`.
"""

from __future__ import annotations

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.pod import PodWorker

ANNOTATION = "kubelet.test/do"
EVICTED = "The node was low on resource: memory."


class Orders:
    """Remembers what was done."""

    def __init__(self) -> None:
        self._done: dict[str, str] = {}

    def obey(self, worker: PodWorker, pod: Json) -> None:
        """Do what the annotation says, once."""
        order = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
        uid = pod["metadata"]["uid"]
        if not order or self._done.get(uid) == order:
            return
        self._done[uid] = order
        what = order.partition("-")[0]
        if what == "evict":
            worker.evict(EVICTED)
        elif what in ("oom", "kill"):
            for runner in worker.mains:
                runner.kill("OOMKilled" if what == "oom" else "")

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._done.pop(uid, None)
