"""The HTTP proxy of the pods: it knows Services, so that pods reach each other by name."""

from __future__ import annotations

import asyncio
import base64
import binascii
from contextlib import suppress
from urllib.parse import urlsplit

from tests.cluster.kubelet.services import NoEndpointError, Services

HEAD_LIMIT = 64 * 1024  # 字节
CHUNK = 64 * 1024  # 字节
HOP = ("proxy-", "connection:", "keep-alive:")


class Proxy:
    """One request per connection, then bytes both ways; CONNECT makes a tunnel."""

    def __init__(self, services: Services, host: str) -> None:
        self._services = services
        self._host = host
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, self._host, 0, limit=HEAD_LIMIT)

    def url(self, namespace: str) -> str:
        """Return the URL for the pods of a namespace: the user name says which, for short Service names."""
        assert self._server is not None
        return f"http://{namespace}:x@{self._host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(
                OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError
            ):
                await self._forward(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *headers = head.rstrip("\r\n").split("\r\n")
        method, target, version = request.split(" ")
        tunnel = method == "CONNECT"
        url = urlsplit(f"//{target}" if tunnel else target)
        try:
            host, port = self._services.resolve(url.hostname or "", url.port or 80, _namespace(headers))
            other_reader, other_writer = await asyncio.open_connection(host, port)
        except (NoEndpointError, OSError) as error:
            code = "503 Service Unavailable" if isinstance(error, NoEndpointError) else "502 Bad Gateway"
            text = f"{error}\n".encode()
            writer.write(f"HTTP/1.1 {code}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
            await writer.drain()
            return
        try:
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = (url.path or "/") + (f"?{url.query}" if url.query else "")
                kept = [line for line in headers if not line.lower().startswith(HOP)]
                lines = [f"{method} {path} {version}", *kept, "Connection: close", "", ""]
                other_writer.write("\r\n".join(lines).encode("latin-1"))
            await _both(asyncio.create_task(_copy(reader, other_writer)), asyncio.create_task(_copy(other_reader, writer)))
        finally:
            other_writer.close()


async def _both(up: asyncio.Task[None], down: asyncio.Task[None]) -> None:
    """Wait for the answer to end; the client may keep its side open."""
    try:
        await down
    finally:
        up.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _namespace(headers: list[str]) -> str:
    for line in headers:
        name, _, value = line.partition(":")
        if name.lower() == "proxy-authorization":
            with suppress(binascii.Error, UnicodeDecodeError):
                return base64.b64decode(value.split()[-1]).decode().partition(":")[0]
    return "default"
