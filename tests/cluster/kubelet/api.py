"""The Kubernetes API as JSON over HTTP: no models, no caches, no retries."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
LINE_LIMIT = 4 * 1024 * 1024  # 字节；watch 的一行是一个对象，默认的 64 KiB 放不下大的 ConfigMap
REQUEST_TIMEOUT_S = 10.0

Json = dict[str, Any]


class ApiError(Exception):
    """The API server refused."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status} {body.get('reason')}: {body.get('message')}")
        self.status = status
        self.body = body


class Cluster:
    """Where the API server is and who we are, read from a kubeconfig with one context."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = next(item["context"] for item in config["contexts"] if item["name"] == config["current-context"])
        cluster = next(item["cluster"] for item in config["clusters"] if item["name"] == context["cluster"])
        user = next(item["user"] for item in config["users"] if item["name"] == context["user"])
        self.server: str = cluster["server"].rstrip("/")
        self.token: str | None = user.get("token")
        self.ca = _content(cluster, "certificate-authority")
        self.tls = self._context(cluster, user) if self.server.startswith("https:") else None

    def _context(self, cluster: Json, user: Json) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate := _content(user, "client-certificate"):
            # ssl 只从文件读客户端证书
            with tempfile.NamedTemporaryFile(suffix=".pem") as file:
                file.write(certificate + b"\n" + (_content(user, "client-key") or b""))
                file.flush()
                context.load_cert_chain(file.name)
        return context


def _content(section: Json, name: str) -> bytes | None:
    if data := section.get(f"{name}-data"):
        return base64.b64decode(data)
    return Path(section[name]).read_bytes() if section.get(name) else None


class Api:
    """One HTTP session; open and close it in the loop that uses it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        headers = {"Authorization": f"Bearer {cluster.token}"} if cluster.token else {}
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=cluster.tls or True, limit=64),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            read_bufsize=LINE_LIMIT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def request(
        self, method: str, path: str, body: Json | None = None, *, kind: str = "application/json", **params: str
    ) -> Json:
        """Send a request and return the answer; raises ApiError, aiohttp.ClientError or TimeoutError."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, self.cluster.server + path, data=data, params=params, headers={"Content-Type": kind}
        ) as response:
            text = await response.text()
            answer = json.loads(text) if text.startswith("{") else {"message": text}
            if response.status >= 400:
                raise ApiError(response.status, answer)
            return answer

    async def get(self, path: str, **params: str) -> Json:
        """Read an object or a list."""
        return await self.request("GET", path, None, **params)

    async def text(self, path: str, **params: str) -> str:
        """Read what is not JSON: the log of a pod."""
        async with self._session.get(self.cluster.server + path, params=params) as response:
            text = await response.text()
            if response.status >= 400:
                raise ApiError(response.status, {"message": text})
            return text

    async def patch(self, path: str, body: Json, *, kind: str = STRATEGIC) -> Json:
        """Patch an object; strategic by default, so that lists with keys (conditions) are merged."""
        return await self.request("PATCH", path, body, kind=kind)

    async def watch(self, path: str, **params: str) -> AsyncIterator[Json]:
        """Yield watch events until the server ends the stream."""
        # 书签每分钟一个；更久没有一个字节就是断了
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_S, sock_read=90)
        query = {"watch": "1", "allowWatchBookmarks": "true", **params}
        async with self._session.get(self.cluster.server + path, params=query, timeout=timeout) as response:
            if response.status >= 400:
                raise ApiError(response.status, {"message": await response.text()})
            async for line in response.content:
                yield json.loads(line)
