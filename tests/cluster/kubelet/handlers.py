"""What probes and lifecycle hooks do: an HTTP request, a connection, a command in the container, a pause."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.cluster.kubelet.api import Json
from tests.cluster.kubelet.context import PodContext
from tests.cluster.kubelet.process import Command, Process


class Handlers:
    """The handlers of one running container."""

    def __init__(self, context: PodContext, spec: Json, process: Process, command: Command, log: Path) -> None:
        self._context = context
        self._spec = spec
        self._process = process
        self._command = command
        self._log = log
        self._count = 0

    async def succeeds(self, handler: Json, timeout: float) -> bool:
        """Run a handler; anything but success within `timeout` seconds is a failure."""
        try:
            async with asyncio.timeout(timeout):
                return await self._run(handler)
        except (TimeoutError, OSError, aiohttp.ClientError):
            return False

    async def _run(self, handler: Json) -> bool:
        if request := handler.get("httpGet"):
            return await self._http(request)
        if socket := handler.get("tcpSocket"):
            host = self._context.shared.network.local(socket.get("host") or self._context.address)
            _, writer = await asyncio.open_connection(host, self._port(socket["port"]))
            writer.close()
            return True
        if command := handler.get("exec"):
            return await self._exec(command["command"]) == 0
        if pause := handler.get("sleep"):
            await asyncio.sleep(pause["seconds"])
            return True
        return False  # grpc 没有实现

    async def _http(self, request: Json) -> bool:
        host = self._context.shared.network.local(request.get("host") or self._context.address)
        scheme = request.get("scheme", "HTTP").lower()
        url = f"{scheme}://{host}:{self._port(request['port'])}/{request.get('path', '/').removeprefix('/')}"
        headers = {item["name"]: item["value"] for item in request.get("httpHeaders") or []}
        async with self._context.shared.probes.get(url, headers=headers) as response:
            return 200 <= response.status < 400

    async def _exec(self, argv: list[str]) -> int:
        self._count += 1
        command = Command(argv, self._command.env, "/", self._command.user)
        file = self._context.folder / f"{self._spec['name']}-exec-{self._count}.json"
        process = await self._process.inside(command, self._log, file)
        try:
            return await process.wait()
        finally:
            process.kill()
            file.unlink(missing_ok=True)

    def _port(self, port: int | str) -> int:
        if isinstance(port, int):
            return port
        return next(item["containerPort"] for item in self._spec.get("ports") or [] if item.get("name") == port)
