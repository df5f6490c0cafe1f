"""What a cluster's network has besides pods: names of Services, and a way from pods to the servers of the tests on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tests.cluster.node.inside import DNS_IP, NODE_IP
from tests.cluster.plane import ControlPlane

T = TypeVar("T")
DOMAIN: Final = ["svc", "cluster", "local"]
HEADER: Final = struct.Struct(">HHHHHH")
TYPE_A, CLASS_IN, POINTER, TTL_S = 1, 1, 0xC00C, 5
ANSWER, MISSING, NO_SUCH_NAME = 0x8580, 0x8183, 404


class Names:
    """Cluster DNS, as far as it goes: the address of `service.namespace.svc.cluster.local`; nothing else exists."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve, name="names", daemon=True)

    def __enter__(self) -> Self:
        self._trust = ssl.create_default_context(cafile=str(self._plane.authority.certificate))
        self._socket.bind((DNS_IP, 53))
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # 叫醒等着的 recvfrom
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(512)
            except OSError:
                return
            if not query:
                return
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        number = HEADER.unpack_from(query)[0]
        labels, end = _question(query)
        (kind,) = struct.unpack_from(">H", query, end)
        question = query[HEADER.size : end + 4]
        address = self._find(labels)
        if address is None:
            return HEADER.pack(number, MISSING, 1, 0, 0, 0) + question
        if kind != TYPE_A:
            return HEADER.pack(number, ANSWER, 1, 0, 0, 0) + question
        record = struct.pack(">HHHIH", POINTER, TYPE_A, CLASS_IN, TTL_S, 4) + socket.inet_aton(address)
        return HEADER.pack(number, ANSWER, 1, 1, 0, 0) + question + record

    def _find(self, labels: list[str]) -> str | None:
        if len(labels) != 5 or labels[2:] != DOMAIN:
            return None
        service, namespace = labels[:2]
        url = f"{self._plane.api.url}/api/v1/namespaces/{namespace}/services/{service}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._plane.admin_token}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, context=self._trust, timeout=5) as answer:  # noqa: S310
                return str(json.load(answer)["spec"]["clusterIP"])
        except urllib.error.HTTPError as error:
            if error.code != NO_SUCH_NAME:
                raise
            return None


def _question(query: bytes) -> tuple[list[str], int]:
    """返回名字的各段，与其后（类型、类别）的位置。"""
    labels, at = list[str](), HEADER.size
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    return labels, at + 1


class Doors:
    """Ports of the node's address that lead to the same ports of 127.0.0.1; `url` opens one and returns how pods say it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="doors", daemon=True)
        self._open: dict[int, asyncio.Server] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, url: str) -> str:
        """Return a URL of a server on 127.0.0.1 as pods reach it."""
        parts = urlsplit(url)
        assert parts.port is not None
        if parts.port not in self._open:
            self._open[parts.port] = self._do(asyncio.start_server(_through(parts.port), NODE_IP, parts.port))
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f"127.0.0.1:{parts.port}", f"{NODE_IP}:{parts.port}")))

    def _do(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(10)

    async def _close(self) -> None:
        for server in self._open.values():
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _through(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    return handle


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
