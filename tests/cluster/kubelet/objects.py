"""Objects for tests that run on the kubelet: short ways to write them, make them and wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cluster.kubelet.api import MERGE, Api, ApiError, Json
from tests.support.waiting import eventually

PATHS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
}
TIMEOUT_S = 20.0


class Space:
    """One namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def path(self, kind: str, name: str = "") -> str:
        """Return the URL path of a list, or of one object."""
        base = PATHS[kind].format(self.namespace)
        return f"{base}/{name}" if name else base

    async def make(self, kind: str, name: str, **content: Any) -> Json:
        """Create an object; `content` is its other top-level fields, `labels` its labels."""
        meta = {"name": name, "labels": content.pop("labels", {})}
        group = PATHS[kind].removeprefix("/apis/").removeprefix("/api/").partition("/namespaces")[0]
        body = {"apiVersion": group, "kind": kind, "metadata": meta, **content}
        return await self.api.request("POST", self.path(kind), body)

    async def change(self, kind: str, name: str, **content: Any) -> Json:
        """Merge `content` into an object."""
        return await self.api.patch(self.path(kind, name), content, kind=MERGE)

    async def delete(self, kind: str, name: str, **options: Any) -> None:
        """Delete an object in the background."""
        await self.api.request("DELETE", self.path(kind, name), {"propagationPolicy": "Background", **options})

    async def find(self, kind: str, name: str) -> Json | None:
        """Return an object, None if there is none."""
        try:
            return await self.api.get(self.path(kind, name))
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def list(self, kind: str, selector: str = "") -> list[Json]:
        """Return the objects with a label."""
        return (await self.api.get(self.path(kind), labelSelector=selector))["items"]

    async def until(
        self, kind: str, name: str, holds: Callable[[Json], Any], *, timeout: float = TIMEOUT_S, why: str = ""
    ) -> Json:
        """Wait until an object exists and `holds`, and return it."""

        async def look() -> Json | None:
            found = await self.find(kind, name)
            return found if found is not None and holds(found) else None

        found = await eventually(look, timeout=timeout, poll=0.1, why=why or f"{kind} {name}")
        assert found is not None
        return found

    async def until_gone(self, kind: str, name: str, *, timeout: float = TIMEOUT_S) -> None:
        """Wait until an object doesn't exist."""

        async def look() -> bool:
            return await self.find(kind, name) is None

        await eventually(look, timeout=timeout, poll=0.1, why=f"{kind} {name} gone")


def shell(script: str, **fields: Any) -> Json:
    """Return a container that runs a script; its process 1 is `sh`, which ignores SIGTERM unless it traps it."""
    return {"name": "main", "image": "shell:test", "command": ["sh", "-c", script], **fields}


def pod_spec(*containers: Json, **fields: Any) -> Json:
    """Return a pod spec with a short grace."""
    return {"containers": list(containers), "terminationGracePeriodSeconds": 1, "restartPolicy": "Never", **fields}


def template(labels: dict[str, str], *containers: Json, **fields: Any) -> Json:
    """Return a pod template for a Deployment."""
    return {"metadata": {"labels": labels}, "spec": pod_spec(*containers, restartPolicy="Always", **fields)}


def main_state(pod: Json) -> Json:
    """Return the state of the first container, empty if the kubelet has not reported it."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0].get("state") or {}


def condition(item: Json, kind: str) -> Json:
    """Return a condition, empty if it is not there."""
    found = [entry for entry in item.get("status", {}).get("conditions") or [] if entry["type"] == kind]
    return found[0] if found else {}
