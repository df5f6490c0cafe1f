"""One Node object: registered, kept alive by a Lease and by its status."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import aiohttp

from tests.cluster.kubelet.api import Api, ApiError, Json
from tests.cluster.kubelet.context import Pace
from tests.cluster.kubelet.status import now

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
LEASE_S = 40
HEALTHY = ("MemoryPressure", "DiskPressure", "PIDPressure")
CONFLICT = 409
TROUBLE = (ApiError, aiohttp.ClientError, OSError, TimeoutError)


class Node:
    """While `lost` is set, nobody hears from it."""

    def __init__(self, api: Api, name: str, *, address: str, allocatable: dict[str, str], zone: str, pace: Pace) -> None:
        self.name = name
        self.address = address
        self.lost = False
        self.log_server: tuple[str, int] = ("", 0)  # API 服务器按 Hostname 去取日志，这里给它真能连的地址
        self._api = api
        self._allocatable = allocatable
        self._zone = zone
        self._pace = pace
        self._since = now()

    async def register(self) -> None:
        """Create the Node, or take over the one of this name."""
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": self._zone,
        }
        body = {"metadata": {"name": self.name, "labels": labels}, "status": self._status()}
        try:
            await self._api.request("POST", "/api/v1/nodes", body)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
        await self._heartbeat()

    async def unregister(self) -> None:
        """Delete the Node and its Lease; best effort, the control plane may be gone already."""
        for path in (f"/api/v1/nodes/{self.name}", f"{LEASES}/{self.name}"):
            with suppress(*TROUBLE):
                await self._api.request("DELETE", path)

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        rounds = max(round(self._pace.node_status_s / self._pace.lease_s), 1)
        number = 0
        while True:
            if not self.lost:
                with suppress(*TROUBLE):
                    await self._renew()
                    # 控制器会把失联节点的条件改成 Unknown，回来后要立刻改回
                    if number % rounds == 0:
                        await self._heartbeat()
                    number += 1
            await asyncio.sleep(self._pace.lease_s)

    async def returned(self) -> None:
        """Say at once that the node is back."""
        self.lost = False
        self._since = now()
        await self._renew()
        await self._heartbeat()

    async def _renew(self) -> None:
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await self._api.patch(f"{LEASES}/{self.name}", {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            await self._api.request("POST", LEASES, {"metadata": {"name": self.name}, "spec": spec})

    async def _heartbeat(self) -> None:
        await self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": self._status()})

    def _status(self) -> Json:
        def condition(kind: str, status: str, reason: str) -> Json:
            times = {"lastHeartbeatTime": now(), "lastTransitionTime": self._since}
            return {"type": kind, "status": status, "reason": reason, "message": "", **times}

        host, port = self.log_server
        return {
            "capacity": self._allocatable,
            "allocatable": self._allocatable,
            "addresses": [
                {"type": "InternalIP", "address": self.address},
                {"type": "Hostname", "address": host or self.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [
                condition("Ready", "True", "KubeletReady"),
                *(condition(kind, "False", f"KubeletHasNo{kind}") for kind in HEALTHY),
            ],
            "nodeInfo": _info(),
        }


def _info() -> Json:
    names = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeProxyVersion")
    known = {"kubeletVersion": "v1.37.2", "operatingSystem": "linux", "architecture": "amd64"}
    return {**dict.fromkeys(names, "process"), **known, "containerRuntimeVersion": "process://1"}
