"""The few calls to the Kubernetes API that the operator makes, over the session of the official client.

Login, TLS and proxies are the official client's. Its discovery and dynamic objects are left out: the kinds are known and
dicts are all we need (the time for a request is the same). There are no hidden repeats here: the work queue decides when
to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio.client.configuration import Configuration
from prometheus_client import Counter

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver.access import authorization, load_access, open_session
from taskmill.kube.apiserver.failures import KubeError, NotFoundError, TransientError, failure
from taskmill.kube.apiserver.kinds import DEPLOYMENT, EVENT, Kind, kind_of
from taskmill.kube.state import Manifest

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
_BACKGROUND = "Background"


class KubeClient:
    """Requests with a time limit, counted by verb and code; every failure is a KubeError."""

    def __init__(self, configuration: Configuration, requests: Counter) -> None:
        self._configuration = configuration
        self._requests = requests
        self._session = open_session(configuration)
        self._host = str(configuration.host).rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=c.KUBE_REQUEST_TIMEOUT_S)
        self._status_writes = asyncio.Semaphore(c.KUBE_STATUS_WRITES)
        self._writes = asyncio.Semaphore(c.KUBE_WRITES)

    @classmethod
    @asynccontextmanager
    async def open(cls, requests: Counter) -> AsyncIterator[KubeClient]:
        """Log in and give a client; SetupError CONFIG_INVALID without an API server to talk to."""
        client = cls(await load_access(), requests)
        try:
            yield client
        finally:
            await client.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Return one object."""
        return await self._call("get", "GET", kind, namespace, name)

    async def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return one object, or None."""
        try:
            return await self.get(kind, namespace, name)
        except NotFoundError:
            return None

    async def list(self, kind: Kind, namespace: str = "") -> tuple[list[Manifest], str]:
        """Return all objects that the kind's selector admits, and the resource version of the list."""
        query = {"limit": str(c.KUBE_LIST_CHUNK)} | ({"labelSelector": kind.selector} if kind.selector else {})
        items: list[Manifest] = []
        while True:
            page = await self._call("list", "GET", kind, namespace, "", query=query)
            for item in page["items"] or []:
                if kind is not DEPLOYMENT:  # 只有 Deployment 的要读（谁拥有 replicas）；它们占一半以上的内存
                    item["metadata"].pop("managedFields", None)
                items.append(item)
            metadata = page["metadata"]
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        for item in items:
            item["apiVersion"], item["kind"] = kind.api_version, kind.kind  # 列表里的内建对象不带这两项
        return items, str(metadata.get("resourceVersion") or "")

    async def events(self, namespace: str, about: str, reason: str) -> list[Manifest]:
        """Return the events with this reason about the object of this name, at most KUBE_EVENTS_READ."""
        query = {"fieldSelector": f"regarding.name={about},reason={reason}", "limit": str(c.KUBE_EVENTS_READ)}
        found: list[Manifest] = (await self._call("list", "GET", EVENT, namespace, "", query=query))["items"] or []
        return found

    async def described(self, kind: Kind) -> str:
        """Return the description of a kind as the API server publishes it to everybody; empty if it has none."""
        found = await self._call("get", "GET", kind, "", "", path=f"/openapi/v3/apis/{kind.api_version}")
        schemas: dict[str, Any] = (found.get("components") or {}).get("schemas") or {}
        name = next((each for each in schemas if each.endswith(f".{kind.kind}")), "")
        return str((schemas.get(name) or {}).get("description") or "")

    async def apply(self, manifest: Manifest, manager: str, *, subresource: str = "") -> Manifest:
        """Apply on the server as `manager`, which takes over every field that it sends."""
        metadata = manifest["metadata"]
        gate = self._status_writes if subresource == "status" else self._writes
        async with gate:
            return await self._call(
                "apply",
                "PATCH",
                kind_of(manifest),
                metadata["namespace"],
                metadata["name"],
                subresource,
                query={"fieldManager": manager, "force": "true"},
                body=manifest,
                content_type=_APPLY,
            )

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> Manifest:
        """Set the replicas through the scale subresource as the scaler."""
        body = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": replicas},
        }
        async with self._writes:
            return await self._call(
                "apply",
                "PATCH",
                kind,
                namespace,
                name,
                "scale",
                query={"fieldManager": names.SCALER, "force": "true"},
                body=body,
                content_type=_APPLY,
            )

    async def merge(
        self, kind: Kind, namespace: str, name: str, body: Manifest, *, manager: str = names.CONTROLLER
    ) -> Manifest:
        """Merge a few fields into one object; give `metadata.uid` or `resourceVersion` to be sure which."""
        async with self._writes:
            return await self._call(
                "patch",
                "PATCH",
                kind,
                namespace,
                name,
                query={"fieldManager": manager},
                body=body,
                content_type=_MERGE,
            )

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; ExistsError if the name is taken."""
        async with self._writes:
            return await self._call(
                "create",
                "POST",
                kind_of(manifest),
                manifest["metadata"]["namespace"],
                "",
                query={"fieldManager": names.CONTROLLER},
                body=manifest,
            )

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object of the resource version that the manifest carries; ConflictError if it has changed."""
        metadata = manifest["metadata"]
        return await self._call("update", "PUT", kind_of(manifest), metadata["namespace"], metadata["name"], body=manifest)

    async def delete(self, manifest: Manifest) -> None:
        """Delete exactly this object (by uid), its children in the background; that it is gone is fine."""
        metadata = manifest["metadata"]
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": _BACKGROUND}
        if metadata.get("uid"):
            options["preconditions"] = {"uid": metadata["uid"]}
        async with self._writes:
            try:
                await self._call(
                    "delete", "DELETE", kind_of(manifest), metadata["namespace"], metadata["name"], body=options
                )
            except NotFoundError:
                return

    def _request(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> Any:
        proxy, name = self._configuration.proxy, self._configuration.tls_server_name
        return self._session.request(
            method, url, data=data, headers=headers, timeout=self._timeout, proxy=proxy, server_hostname=name
        )

    async def _call(
        self,
        verb: str,
        method: str,
        kind: Kind,
        namespace: str,
        name: str,
        subresource: str = "",
        *,
        query: dict[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        path: str = "",
    ) -> Manifest:
        path = path or kind.path(namespace, name, subresource)
        target = f"{kind.plural}{'/' + subresource if subresource else ''} {namespace}/{name}"
        headers = {"Accept": _JSON, **await authorization(self._configuration)}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = msgspec.json.encode(body)
        url = f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")
        code = "error"
        try:
            async with self._request(method, url, data, headers) as response:
                code = str(response.status)
                raw = await response.read()
                if response.status < 400:  # noqa: PLR2004 - HTTP
                    return _decoded(verb, target, response.status, raw)
                raise _refusal(verb, target, response, raw, applying=content_type == _APPLY)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            code = "error" if code == "error" else f"{code}-cut"
            raise TransientError(verb, target, 0, type(error).__name__, str(error)[:500]) from error
        finally:
            self._requests.labels(verb, code).inc()


def _decoded(verb: str, target: str, status: int, raw: bytes) -> Manifest:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:  # 半路上有谁替 API 服务器答了话
        raise TransientError(verb, target, status, "NotJson", str(error)) from error


def _refusal(verb: str, target: str, response: aiohttp.ClientResponse, raw: bytes, *, applying: bool) -> KubeError:
    try:
        decoded = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        decoded = None
    body: dict[str, Any] = (
        decoded if isinstance(decoded, dict) else {"reason": "Unknown", "message": raw[:500].decode(errors="replace")}
    )
    error = failure(verb, target, response.status, body, applying=applying)
    header = response.headers.get("Retry-After", "")
    if isinstance(error, TransientError) and header.isdigit():
        error.retry_after_s = float(header)
    return error
