"""Bad clients on raw sockets: what they may send, how long they may take, how many they may be."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn

from taskmill import constants as c
from taskmill.serving import constants as hc
from taskmill.serving.connections import Connections
from taskmill.serving.endpoint import Server, bind
from taskmill.serving.limits import Limits, fit
from taskmill.serving.protocol import REFUSED, LimitedProtocol

pytestmark = pytest.mark.anyio
GOOD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and say how long it was, or pass the protocol's error on as its status."""
    size, more = 0, True
    while more:
        message = await receive()
        if REFUSED in scope or message["type"] != "http.request":
            break
        size, more = size + len(message["body"]), message["more_body"]
    error = scope.get(REFUSED)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.spec.status if error else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def leave(writer: asyncio.StreamWriter) -> None:
    """Close our side, whatever the server did to it."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Served:
    """A listener, its connections, and what was counted."""

    def __init__(self, limits: Limits) -> None:
        self.counted: Counter[str] = Counter()
        self.connections = Connections(limits, lambda reason: self.counted.update([reason]))
        self.port = 0

    async def connect(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection and send something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        return reader, writer

    async def answer(self, sent: bytes) -> bytes:
        """Return all that the server says to these bytes until it closes."""
        reader, writer = await self.connect(sent)
        found = await asyncio.wait_for(reader.read(), 60)
        await leave(writer)
        return found

    async def holds(self, count: int) -> None:
        """Wait until the server has so many connections."""
        async with asyncio.timeout(60):
            while len(self.connections.open) != count:
                await asyncio.sleep(0)

    def later(self, seconds: float) -> int:
        """Sweep as if so much time had passed; returns how many connections ended."""
        return self.connections.sweep(asyncio.get_running_loop().time() + seconds)


@asynccontextmanager
async def served(**limits: Any) -> AsyncIterator[Served]:
    """Serve the application without a sweeper of its own: the tests sweep."""
    found = Served(Limits(**limits))
    listener = bind("127.0.0.1", 0, "tests")
    found.port = listener.getsockname()[1]
    config = uvicorn.Config(
        app,
        http=partial(LimitedProtocol, found.connections),
        loop="none",
        lifespan="off",
        log_config=None,  # type: ignore[arg-type]
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield found
    finally:
        server.should_exit = True
        await serving


def lines(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * count + b"connection: close\r\n\r\n"


def header(size: int) -> bytes:
    frame = len(b"/") + len(b"a") + hc.HTTP_HEADER_FRAME + len(b"connectionclose") + hc.HTTP_HEADER_FRAME
    return b"GET / HTTP/1.1\r\na: " + b"x" * (size - frame) + b"\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (lines(c.HTTP_HEADERS_MAX - 1), 200),
        (lines(c.HTTP_HEADERS_MAX), 431),
        (b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 50_000, 431),
        (header(c.HTTP_HEADER_MAX_BYTES), 200),
        (header(c.HTTP_HEADER_MAX_BYTES + 1), 431),
        (b"GET / HTTP/1.1\r\na: " + b"x" * (2 * c.HTTP_HEADER_MAX_BYTES), 431),
        (b"GET /" + b"x" * (c.HTTP_URL_MAX_BYTES - 1) + b" HTTP/1.1\r\nconnection: close\r\n\r\n", 200),
        (b"GET /" + b"x" * c.HTTP_URL_MAX_BYTES + b" HTTP/1.1\r\nconnection: close\r\n\r\n", 414),
        (b"\r\n" * c.HTTP_HEADER_MAX_BYTES, 431),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnot a number\r\n", 400),
        (b"hello there\r\n\r\n", 400),
    ],
    ids=[
        "99 headers",
        "101 headers",
        "many headers",
        "64 KiB",
        "64 KiB + 1",
        "no end of a header",
        "16 KiB of URL",
        "longer URL",
        "only line breaks",
        "bad chunk",
        "no HTTP",
    ],
)
async def test_what_is_not_body_is_bounded(sent: bytes, status: int) -> None:
    async with served() as server:
        assert (await server.answer(sent)).startswith(b"HTTP/1.1 %d" % status)
        assert sum(server.counted.values()) == (status != 200)


@pytest.mark.parametrize("start", [b"1\r\na\r\n0\r\nt: ", b"1;"], ids=["trailer", "chunk extension"])
async def test_what_grows_inside_a_body_ends_the_connection(start: bytes) -> None:
    async with served() as server:
        sent = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + start + b"x" * (32 * c.HTTP_HEADER_MAX_BYTES)
        with contextlib.suppress(ConnectionResetError):
            await server.answer(sent)
        assert server.counted == {"headers_too_large": 1}


async def test_a_body_may_be_long_in_small_chunks() -> None:
    async with served() as server:
        chunks = b"40\r\n" + b"x" * 64 + b"\r\n"
        sent = (
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            + chunks * 20_000
            + b"0\r\nt: 1\r\n\r\n"
        )
        assert (await server.answer(sent)).endswith(b"\r\n\r\n1280000")


@pytest.mark.parametrize(
    ("sent", "after", "reason", "status"),
    [
        (b"", c.HTTP_HEADER_TIMEOUT_S, "slow_header", None),
        (b"GET / HTTP/1.1\r\nhost:", c.HTTP_HEADER_TIMEOUT_S, "request_timeout", 408),
        (b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", c.HTTP_BODY_TIMEOUT_S, "request_timeout", 408),
    ],
    ids=["nothing", "half a header", "half a body"],
)
async def test_half_a_request_ends_at_its_deadline(sent: bytes, after: float, reason: str, status: int | None) -> None:
    async with served() as server:
        reader, writer = await server.connect(sent)
        await server.holds(1)
        [connection] = server.connections.open
        async with asyncio.timeout(60):
            while sent and not connection._received and not connection._silent:  # 等字节到达
                await asyncio.sleep(0)
        assert server.later(after - 5) == 0
        assert server.later(after + 1) == 1
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 %d" % status) if status else answer == b""
        assert server.counted == {reason: 1}
        await leave(writer)


async def test_an_idle_connection_ends_even_if_it_sends_line_breaks() -> None:
    async with served() as server:
        reader, writer = await server.connect(GOOD)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"\r\n")
        server.later(0)
        assert server.later(c.HTTP_KEEP_ALIVE_S + 1) == 1
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 60)
        await leave(writer)


async def test_unfinished_connections_make_room_and_are_counted() -> None:
    async with served(connections=20) as server:
        half = [await server.connect(b"GET / HTTP/1.1\r\nhost:") for _ in range(60)]
        for _ in range(10):
            assert (await server.answer(GOOD.replace(b"host: x", b"connection: close"))).startswith(b"HTTP/1.1 200")
        assert len(server.connections.open) <= 20
        assert server.counted["evicted"] >= 40
        for _, writer in half:
            await leave(writer)


@pytest.mark.parametrize(
    ("sent", "answered", "refused"),
    [(hc.HTTP_PIPELINE_MAX + 1, hc.HTTP_PIPELINE_MAX + 1, 0), (20_000, hc.HTTP_PIPELINE_MAX + 1, 1)],
    ids=["as many as may wait", "a flood"],
)
async def test_requests_that_wait_for_no_answer_are_bounded(sent: int, answered: int, refused: int) -> None:
    last = GOOD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with served() as found:
        told = await found.answer(GOOD * (sent - 1) + last)
        assert told.count(b"HTTP/1.1 200 OK") == answered
        assert found.counted["server_busy"] == refused


@pytest.mark.parametrize("sent", [b"hello there\r\n\r\n", GOOD[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"])
async def test_bad_clients_fill_no_log(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with served() as found:
        for _ in range(3):
            reader, writer = await found.connect(sent)
            await asyncio.wait_for(reader.readline(), 60)
            await leave(writer)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_limit_of_descriptors_bounds_the_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_000), hard))
        assert fit(500) == 500
        assert fit(1_200) == min(1_200, hard - hc.DESCRIPTORS_RESERVED if hard != resource.RLIM_INFINITY else 1_200)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(1_300, hard if hard > 0 else 1_300)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_unfinished_headers_of_all_connections_together_are_bounded_and_the_largest_go() -> None:
    async with served(heads_bytes=64_000) as server:
        _, small = await server.connect(b"GET / HTTP/1.1\r\nx: " + b"v" * 1_000)
        await server.holds(1)
        large = [await server.connect(b"GET / HTTP/1.1\r\nx: " + b"v" * 15_000) for _ in range(5)]
        async with asyncio.timeout(60):
            while server.counted["evicted"] < 2:
                await asyncio.sleep(0)
        assert server.connections.heads <= 64_000 - 64_000 // hc.HTTP_EVICT_SHARE
        assert sorted(connection.held > 10_000 for connection in server.connections.open) == [False, True, True, True]
        small.write(b"\r\nconnection: close\r\n\r\n")
        for _, writer in [*large, ("", small)]:
            await leave(writer)
        await server.holds(0)
        assert server.connections.heads == 0


async def test_a_finished_header_is_held_no_longer() -> None:
    async with served() as server:
        reader, writer = await server.connect(b"GET / HTTP/1.1\r\nx: ")
        async with asyncio.timeout(60):
            while not server.connections.heads:
                await asyncio.sleep(0)
        writer.write(b"v\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert server.connections.heads == 0
        await leave(writer)


@pytest.mark.parametrize(
    "before", [b"", GOOD, b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n123456789"], ids=["first", "second", "after a body"]
)
async def test_a_header_that_follows_another_request_in_one_read_is_bounded_too(before: bytes) -> None:
    async with served() as server:
        small, large = header(c.HTTP_HEADER_MAX_BYTES), header(2 * c.HTTP_HEADER_MAX_BYTES)
        assert (await server.answer(before + small)).count(b"HTTP/1.1 200") == 1 + bool(before)
        assert server.counted == {}
        with contextlib.suppress(ConnectionResetError):
            assert (await server.answer(before + large)).count(b"HTTP/1.1 200") == bool(before)
        assert server.counted == {"headers_too_large": 1}


@pytest.mark.parametrize(
    "start",
    [
        b"POST / HTTP/1.1\r\ncontent-length: 9\r\nx: %s\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n123456789GET / HTTP/1.1\r\nx: %s",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: %s",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n1234567",
    ],
    ids=["its body is awaited", "behind another", "a trailer", "small"],
)
async def test_headers_count_until_they_are_answered(start: bytes) -> None:
    sent = start.replace(b"%s", b"v" * 40_000)
    small = sent == start
    async with served(heads_bytes=1_000_000) as server:
        _, writer = await server.connect(sent)
        async with asyncio.timeout(60):
            while server.connections.heads < (10 if small else 40_000 - hc.HTTP_PIECE_BYTES):
                await asyncio.sleep(0)
        assert server.connections.heads <= (200 if small else 40_000 + hc.HTTP_PIECE_BYTES)
        await leave(writer)
        await server.holds(0)
        assert server.connections.heads == 0


async def test_an_idle_connection_keeps_nothing_of_the_header_that_was_answered() -> None:
    async with served() as server:
        reader, writer = await server.connect(b"GET / HTTP/1.1\r\nx: " + b"v" * 40_000 + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200")
        [connection] = server.connections.open
        assert (connection.headers, connection.url, connection.scope, connection.held) == ([], b"", {}, 0)
        assert connection.cycle.scope == {}
        writer.write(GOOD)  # 连接照样可用
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200")
        await leave(writer)


async def test_a_refused_connection_keeps_nothing_of_what_it_sent() -> None:
    async with served() as server:
        reader, writer = await server.connect(b"GET / HTTP/1.1\r\nx: " + b"v" * (2 * c.HTTP_HEADER_MAX_BYTES))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 431")
        for connection in server.connections.open:
            assert (connection.parser, connection.headers, connection.url, connection.held) == (None, [], b"", 0)
        await leave(writer)
