"""Writes the status of one pod: the newest one only, again until the API server took it."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.cluster.kubelet.api import Api, ApiError, Json

RETRY_S = 0.3
GONE = (404, 409)  # 409：同名的已经是另一个 Pod（uid 不同）


def path_of(pod: Json) -> str:
    """Return the URL path of a pod."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


class Publisher:
    """`put` never waits; `flush` returns when the newest status is written or the pod is gone."""

    def __init__(self, api: Api, pod: Json) -> None:
        self._api = api
        self._path = path_of(pod)
        self._uid = pod["metadata"]["uid"]
        self._wanted: Json | None = None
        self._latest: Json | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self.gone = False

    def put(self, status: Json) -> None:
        """Have `status` written soon."""
        if status != self._latest:
            self._latest = self._wanted = status
            self._settled.clear()
            self._wake.set()

    async def flush(self) -> None:
        """Wait until everything is written."""
        await self._settled.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted is not None and not self.gone:
                status, self._wanted = self._wanted, None
                if not await self._write(status):
                    self._wanted = self._wanted or status
                    await asyncio.sleep(RETRY_S)
            self._settled.set()

    async def _write(self, status: Json) -> bool:
        body = {"metadata": {"uid": self._uid}, "status": status}
        try:
            await self._api.patch(f"{self._path}/status", body)
        except ApiError as error:
            self.gone = error.status in GONE
            return self.gone
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return True

    async def remove(self) -> None:
        """Delete the pod for good, unless its name belongs to another one by now."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}}
        while not self.gone:
            try:
                await self._api.request("DELETE", self._path, body)
            except ApiError as error:
                if error.status in GONE:
                    return
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            else:
                return
            await asyncio.sleep(RETRY_S)
