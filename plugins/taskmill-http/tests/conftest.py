"""The servers that this plugin's tests talk to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest


class RawServer:
    """Answers every request with the bytes that the test chose, and then hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self.requests: list[bytes] = []
        self.hold = self.hasty = False
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if not self.hasty:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            if not self.hold:
                writer.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    """A server that says whatever the test wants, HTTP or not."""
    server = RawServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    yield server
    server.close()
    listener.close()
    await listener.wait_closed()
