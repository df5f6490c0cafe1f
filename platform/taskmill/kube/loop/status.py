"""Writes the status of our objects: only when it differs, and numbers alone not more often than every 15 s."""

from __future__ import annotations

from typing import Final

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver.client import KubeClient
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.observe.cache import Cache
from taskmill.kube.state import Apply, Manifest, Plan

# 每拍都在变的数字；其余的一变就写
NUMBERS: Final = frozenset({"work", "scaling", "busyReplicas"})
CONDITION: Final = ("type", "status", "reason", "observedGeneration")


class StatusWriter:
    """One for all objects."""

    def __init__(self, client: KubeClient, cache: Cache, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client, self._cache, self._clock = client, cache, clock
        self._written: dict[Key, float] = {}

    async def write(self, key: Key, manifest: Manifest, status: Manifest, *, unchanged: bool = False) -> float:
        """Make `status` the object's status; returns 0, or the seconds until numbers may be written again. KubeError.

        `unchanged`: only if nobody has written to the object since `manifest` was read, ConflictError otherwise.
        """
        now, old = self._clock.monotonic(), manifest.get("status") or {}
        if status == old:
            return 0.0
        wait = self._written.get(key, float("-inf")) + c.KUBE_STATUS_PERIOD_S - now
        if wait > 0 and _settled(status) == _settled(old):
            return wait
        metadata = manifest["metadata"]
        body = {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "status": status,
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
        }
        if unchanged:
            body["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        answer = await self._client.apply(body, names.STATUS, subresource="status")
        self._written[key] = now
        self._cache.put(key.kind, answer)
        return 0.0

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._written.pop(key, None)


def can_wait(manifest: Manifest, made: Plan) -> bool:
    """Say whether the status may wait for the echo of what a round made, so that two writes become one.

    Only if children were applied and nothing else was done, nothing is to be told or counted, and the spec has been observed.
    """
    only_children = bool(made.actions) and all(isinstance(action, Apply) for action in made.actions)
    seen = (manifest.get("status") or {}).get("observedGeneration") == manifest["metadata"].get("generation")
    return only_children and seen and not made.events and not made.interrupted


def _settled(status: Manifest) -> Manifest:
    """状态里值得马上写的部分：条件的文字常带数字，不算。"""
    kept = {key: value for key, value in status.items() if key not in NUMBERS}
    kept["conditions"] = [{key: each.get(key) for key in CONDITION} for each in status.get("conditions") or ()]
    reason = (status.get("scaling") or {}).get("reason")
    return {**kept, "scalingReason": reason}
