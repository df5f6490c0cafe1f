"""A TCP proxy that does what networks do: loses replies, falls silent without closing, leads elsewhere after a failover."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 65_536
# PostgreSQL 的 CommandComplete：'C'、长度、标签。事务提交，或单条语句自成的事务
COMMITTED = re.compile(rb"C\x00\x00\x00[\x08-\x20](?:COMMIT|UPDATE [1-9]\d*|INSERT 0 [1-9]\d*|DELETE [1-9]\d*)\x00")


class Proxy:
    """Stands before the server of `url`; `url` of the proxy is the same with another port.

    Once `lose` was called, every n-th reply that matches is dropped and its connection cut, `left` times in all.
    `freeze` stops forwarding on the connections that exist, in both directions and without closing them; new ones work,
    unless `hole` is set: then they are accepted and nothing ever comes of them. `aim` leads new ones to another server.
    """

    def __init__(self, url: str) -> None:
        self._target = self._goal = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._every = self._seen = 0
        self._frozen: set[asyncio.Task[None]] = set()
        self.left = 0
        self.lost = 0
        self.hole = False

    @property
    def url(self) -> str:
        """Return the URL that leads through the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._target._replace(netloc=self._target.netloc.replace(f":{self._target.port}", f":{port}")).geturl()

    def lose(self, times: int, *, every: int = 1) -> None:
        """Begin to lose replies."""
        self.left, self._every, self._seen = times, every, 0

    def freeze(self) -> int:
        """Stop forwarding on the connections that exist; returns how many."""
        fresh = self._tasks - self._frozen
        self._frozen |= fresh
        return len(fresh)

    def aim(self, url: str) -> None:
        """Lead new connections to the server of `url`."""
        self._goal = urlsplit(url)

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.hole:
                await asyncio.Event().wait()
            there = await asyncio.open_connection(self._goal.hostname, self._goal.port)
        except OSError:
            writer.close()
        except asyncio.CancelledError:
            writer.close()  # 收场时被取消：流的回调不认得取消，不要往外抛
        else:
            with suppress(asyncio.CancelledError):
                await self._both(reader, writer, *there)
        finally:
            self._tasks.discard(task)
            self._frozen.discard(task)

    async def _both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        serving = asyncio.current_task()
        ways = [asyncio.create_task(self._pump(reader, far_writer, serving, replies=False)),
                asyncio.create_task(self._pump(far_reader, writer, serving, replies=True))]  # fmt: skip
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.close()
            writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serving: object, *, replies: bool
    ) -> None:
        while True:
            data = await reader.read(CHUNK)
            if serving in self._frozen:
                await asyncio.Event().wait()  # 连对端关闭的消息也不转
            if not data or (replies and self._loses(data)):
                return
            writer.write(data)
            await writer.drain()

    def _loses(self, data: bytes) -> bool:
        if self.left == 0 or not COMMITTED.search(data):
            return False
        self._seen += 1
        if self._seen % self._every:
            return False
        self.left -= 1
        self.lost += 1
        return True
