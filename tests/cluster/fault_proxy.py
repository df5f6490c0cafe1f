"""A proxy before the API server that refuses, cuts watches and loses their place, on demand.

The client speaks plain HTTP to it; its credentials go through to the API server, which is reached over TLS as ever.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from tests.cluster.kubelet.api import Cluster

REASONS = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
GONE = 410
HOP = frozenset({"host", "connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive"})
Matches = Callable[[str, str], bool]


def everything(_method: str, _path: str) -> bool:
    """Match every request."""
    return True


def writes(method: str, path: str) -> bool:
    """Match writes of anything but leases, so that the leader stays."""
    return method != "GET" and "/leases" not in path


class FaultProxy:
    """`async with FaultProxy(kubeconfig) as proxy`; the operator takes `proxy.kubeconfig(path)`.

    `refuse(429, 20)` answers the next 20 matching requests itself. `cut()` breaks all watches; while `blind` is true
    no watch can begin. `lose_place()` tells the next watch of each kind that its place is gone (410, as the answer or
    as an event, both occur): the client must list anew.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._source = yaml.safe_load(kubeconfig.read_text())
        self._cluster = Cluster(kubeconfig)
        self._watches: set[web.StreamResponse] = set()
        self._refusals: list[tuple[int, Matches]] = []
        self._lost: set[str] | None = None
        self._lost_as_event = False
        self.blind = False
        self._listed: dict[str, bool] = {}  # 路径 → 最后一次列表是不是 kopf 要的
        self.seen: Counter[int] = Counter()
        self._port = 0

    def settled(self, paths: Iterable[str]) -> bool:
        """Say whether all are watched, and listed by the operator itself after the watch layer listed them."""
        needed = set(paths)
        return len(self._watches) >= len(needed) and all(self._listed.get(path) is False for path in needed)

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads through the proxy."""
        content = json.loads(json.dumps(self._source))
        for each in content["clusters"]:
            each["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        path.write_text(json.dumps(content))
        return path

    def refuse(self, status: int, times: int, matches: Matches = everything) -> None:
        """Answer the next matching requests with an error."""
        self._refusals += [(status, matches)] * times

    def cut(self) -> None:
        """Break all watches."""
        for each in list(self._watches):
            if each._req is not None and each._req.transport is not None:
                each._req.transport.abort()

    def lose_place(self, *, as_event: bool = False) -> None:
        """Break all watches, and tell each that comes back with a resource version that it is too old, once."""
        self._lost, self._lost_as_event = set(), as_event
        self.cut()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._cluster.tls or True, limit=0),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if (status := self._refused(request)) is not None:
            self.seen[status] += 1
            if status == GONE and self._lost_as_event:
                return web.json_response({"type": "ERROR", "object": _body(status)})
            return _status(status)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        body = await request.read()
        url = f"{self._cluster.server}{request.raw_path}"
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
                return await self._pass(request, answer)
        except (aiohttp.ClientError, OSError):
            if request.transport is not None:
                request.transport.abort()
            return _status(503)

    def _refused(self, request: web.Request) -> int | None:
        watch = "watch" in request.query
        if watch and self.blind:
            return 503
        if watch and self._lost is not None and "resourceVersion" in request.query and request.path not in self._lost:
            self._lost.add(request.path)
            return GONE
        for index, (status, matches) in enumerate(self._refusals):
            if not watch and matches(request.method, request.path):
                del self._refusals[index]
                return status
        return None

    async def _pass(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP - {"content-encoding"}}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        watch = "watch" in request.query
        if watch:
            self._watches.add(response)
        try:
            with suppress(ConnectionResetError, aiohttp.ClientError):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
        finally:
            self._watches.discard(response)
        if request.method == "GET" and not watch:
            self._listed[request.path] = "kopf" in request.headers.get("User-Agent", "")
        return response


def _status(code: int) -> web.Response:
    return web.json_response(_body(code), status=code, headers={"Retry-After": "1"} if code == 429 else {})


def _body(code: int) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": REASONS[code],
        "message": f"the fault proxy says {code}",
        "details": {},
    }


async def breathe(seconds: float) -> None:
    """Let a fault last: the length of an outage is what the test is about, not a wait for something to happen."""
    await asyncio.sleep(seconds)
