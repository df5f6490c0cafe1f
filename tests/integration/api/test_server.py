"""The embedded server on a real port."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from litestar import Litestar

from taskmill import constants as c
from taskmill.api.app import create_app
from taskmill.api.server import bind, serve
from taskmill.errors import Code, TaskmillError
from taskmill.services.platform import Platform
from tests.support.api import KIND, data, opened, refusal

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _served(app: Litestar) -> AsyncIterator[int]:
    stop, ready = asyncio.Event(), asyncio.Event()
    ports: list[int] = []
    serving = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, ready=ready, bound=ports.append))
    async with asyncio.timeout(60):
        await ready.wait()
    try:
        yield ports[0]
    finally:
        stop.set()
        async with asyncio.timeout(c.SHUTDOWN_GRACE_S + 60):
            assert await serving == ports[0]


async def test_it_serves_and_stops(platform: Platform) -> None:
    key = await platform.keys.create("tests")
    headers = {"Authorization": f"Bearer {key.secret}"}
    async with _served(create_app(platform)) as port:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            data(await client.post("/api/v1/tasks", json={"kind": KIND}), 201)
            refusal(await client.get("/nothing"), 404, "ROUTE_NOT_FOUND")
            refusal(
                await client.post(
                    "/api/v1/tasks", content=b" " * (c.BODY_MAX_BYTES + 1), headers={"Content-Type": "application/json"}
                ),
                413,
                "BODY_TOO_LARGE",
            )
            data(await client.get("/healthz"))
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


async def test_what_is_not_http_gets_an_envelope(platform: Platform) -> None:
    async with _served(create_app(platform)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello there\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    found: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 400")
    assert found["code"] == "MALFORMED_HTTP"
    assert f"x-request-id: {found['request_id']}".encode() in head


async def test_requests_under_way_are_finished(platform: Platform) -> None:
    key = await platform.keys.create("tests")
    app = create_app(platform)
    async with _served(app) as port:
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key.secret}"}
        ) as client:
            async with anyio.create_task_group() as group:
                statuses: list[int] = []

                async def submit() -> None:
                    statuses.append((await client.post("/api/v1/tasks", json={"kind": KIND})).status_code)

                for _ in range(20):
                    group.start_soon(submit)
    assert statuses == [201] * 20


async def test_an_idle_connection_does_not_delay_the_end(platform: Platform) -> None:
    started = 0.0
    async with _served(create_app(platform)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        await writer.drain()
        started = time.monotonic()
    assert time.monotonic() - started < c.SHUTDOWN_GRACE_S
    writer.close()


async def test_a_taken_port_is_named(platform: Platform) -> None:
    with bind("127.0.0.1", 0, "tests") as taken:
        with pytest.raises(TaskmillError) as raised:
            await serve(create_app(platform), "127.0.0.1", taken.getsockname()[1], stop=asyncio.Event())
    assert raised.value.code is Code.CONFIG_INVALID
    assert str(taken) and "127.0.0.1" in raised.value.details["reason"]


async def _raw(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "/schema/static/%00",
        "/schema/static/" + "x" * 300,
        "/schema/static/..%2f..%2fapp.py",
        "/%00",
        "/api/v1/tasks/%00",
        "/api/v1/queues/%00",
        "/%ff%fe",
        "//",
        "*",
        "http://",
        "/schema/%00",
        "/healthz/%00",
    ],
)
async def test_odd_paths_and_secure_headers(platform: Platform, path: str) -> None:
    async with _served(create_app(platform)) as port:
        answer = await _raw(port, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4"), answer
    assert json.loads(body)["code"] != "OK"
    for line in (b"x-content-type-options: nosniff", b"referrer-policy: no-referrer", b"content-security-policy: "):
        assert head.lower().count(line) == 1, head


async def test_who_still_waits_at_the_end_is_told_that_the_outcome_is_unknown(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(c, "SHUTDOWN_GRACE_S", 0.1)
    key = await platform.keys.create("tests")
    assert await platform.keys.authenticate(key.secret)
    request = b'{"kind":"%s"}' % KIND.encode()
    head = f"POST /api/v1/tasks HTTP/1.1\r\nauthorization: Bearer {key.secret}\r\ncontent-type: application/json\r\n"
    async with platform.database.transaction() as connection:
        await connection.execute("lock table taskmill.tasks in access exclusive mode")
        app = create_app(platform)
        async with _served(app) as port:
            asking = asyncio.create_task(_raw(port, f"{head}content-length: {len(request)}\r\n\r\n".encode() + request))
            async with asyncio.timeout(60):
                while not platform.submit._group.under_way:
                    await asyncio.sleep(0)
        head_found, _, body = (await asking).partition(b"\r\n\r\n")
    assert head_found.startswith(b"HTTP/1.1 503"), head_found
    assert b"connection: close" in head_found and b"retry-after: 1" in head_found
    assert json.loads(body)["code"] == "SHUTTING_DOWN"
    assert "Traceback" not in caplog.text and "Exception in ASGI" not in caplog.text


async def test_probes_have_a_port_of_their_own(database_url: str, broker_url: str) -> None:
    with bind("127.0.0.1", 0, "tests") as free:
        port = free.getsockname()[1]
    async with (
        opened(database_url, broker_url, bind_host="127.0.0.1", api_health_port=port) as platform,
        _served(create_app(platform)),
    ):
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/x", 404)):
            answer = await _raw(port, f"GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 %d" % status), answer


async def test_bodies_beyond_the_budget_are_refused_before_they_are_read(database_url: str, broker_url: str) -> None:
    async with opened(database_url, broker_url, api_bodies_max_bytes=2_000) as platform:
        key = await platform.keys.create("tests")
        head = f"POST /api/v1/tasks HTTP/1.1\r\nauthorization: Bearer {key.secret}\r\ncontent-type: application/json\r\n"
        app = create_app(platform)
        bodies = app.asgi_handler._bodies  # type: ignore[attr-defined]
        async with _served(app) as port:
            _, slow = await asyncio.open_connection("127.0.0.1", port)
            slow.write(f"{head}content-length: 1500\r\n\r\n".encode())
            async with asyncio.timeout(60):
                while bodies.used != 1_500:
                    await asyncio.sleep(0)
            answer = await _raw(port, f"{head}connection: close\r\ncontent-length: 501\r\n\r\n".encode() + b" " * 501)
            assert answer.startswith(b"HTTP/1.1 503") and b"SERVER_BUSY" in answer and b"retry-after: 1" in answer
            slow.close()
            async with asyncio.timeout(60):
                while bodies.used:
                    await asyncio.sleep(0)
