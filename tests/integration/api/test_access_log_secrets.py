"""A secret in a path or query gets into no log line, whatever becomes of the request."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import anyio
import pytest
from litestar import Litestar, get
from litestar.exceptions import HTTPException
from litestar.types import Message, Receive, Scope, Send

from taskmill import constants as c
from taskmill.api import constants as ac
from taskmill.api.access_log import AccessLog
from taskmill.api.app import create_app
from taskmill.api.failures import on_error, on_http_error
from taskmill.api.server import serve
from taskmill.errors import Code, UnavailableError
from taskmill.services.platform import Platform
from tests.support import api
from tests.support.api import KIND
from tests.support.logs import captured
from tests.support.spellings import HIDDEN, PATHS, QUERIES

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"
TARGETS = [f"{path}?{query}" for path, query in zip(PATHS, QUERIES, strict=False)] + [f"/x?{each}" for each in QUERIES]
AGENT = "tests/1 token=hunter2"


def telling(lines: list[Any]) -> list[Any]:
    """The lines that say the secret, were it encoded."""
    return [line for line in lines if HIDDEN in unquote(unquote(str(line)))]


async def test_requests_that_are_refused(platform: Platform, lines: list[dict[str, Any]]) -> None:
    async with api.api(platform) as client:
        await client.get("/healthz")
        lines.clear()
        for target in TARGETS:
            for method, path, options, statuses in [
                ("GET", target, {}, {404}),
                ("DELETE", f"{TASKS}?{target.partition('?')[2]}", {}, {405}),
                ("GET", TASKS + target, {"headers": {"Authorization": ""}}, {401, 404}),
                ("GET", TASKS + target, {}, {404, 422}),
                ("POST", f"/api/v1/queues{target}", {"json": {}}, {404, 405}),
            ]:
                answer = await client.request(method, path, **{"headers": {"User-Agent": AGENT}, **options})
                assert answer.status_code in statuses, (method, path, answer.text)
    assert len(lines) == 5 * len(TARGETS)
    assert telling(lines) == []


async def test_bodies_that_are_refused(database_url: str, broker_url: str, lines: list[dict[str, Any]]) -> None:
    json = {"Content-Type": "application/json"}
    async with api.opened(database_url, broker_url, body_max_bytes=1024) as platform, api.api(platform) as client:
        lines.clear()
        for query in QUERIES:
            for content, headers, status in [
                (b" " * 1025, json, 413),
                (b"{", json, 400),
                (b"{}", {"Content-Type": "text/token=hunter2"}, 415),
                (b'{"kind":"%s"}' % KIND.encode(), json, 201),
            ]:
                answer = await client.post(f"{TASKS}?{query}", content=content, headers=headers)
                assert answer.status_code == status, answer.text
    assert len(lines) == 4 * len(QUERIES)
    assert telling(lines) == []


@get("/{rest:path}")
async def breaks(rest: str) -> None:
    """Fail as a bug does."""
    raise ValueError


@get("/away/{rest:path}")
async def away(rest: str) -> None:
    """Fail as a server that is away does."""
    raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason="gone")


async def _broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError


async def test_requests_that_break_say_so_in_other_logs_too(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [captured(monkeypatch, f"taskmill.api.{module}") for module in ("failures", "access_log")]
    app = Litestar(
        [breaks, away], exception_handlers={HTTPException: on_http_error, Exception: on_error}, openapi_config=None
    )
    for each, start, status in ((app, "", 500), (app, "/away", 503), (_broken, "", 500)):
        async with api.client(AccessLog(each)) as client:  # type: ignore[arg-type]
            for target in TARGETS:
                answer = await client.get(start + target)
                assert answer.status_code == status, answer.text
    assert len(lines) == 3 * len(TARGETS)
    assert [len(found) for found in others] == [2 * len(TARGETS), len(TARGETS)]
    assert all(line["path"].startswith("/") for found in others for line in found)
    assert not (told := telling([*lines, *others[0], *others[1]])), "\n".join(map(str, told))


async def test_requests_that_are_cancelled_or_left(lines: list[dict[str, Any]]) -> None:
    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await anyio.sleep_forever()

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    for target in TARGETS:
        path, _, query = target.partition("?")
        scope: Any = {"type": "http", "method": "GET", "path": unquote(path), "query_string": query.encode(), "headers": []}
        await AccessLog(reads)(scope, receive, send)
        entered = asyncio.Event()
        asking = asyncio.create_task(AccessLog(hangs)({**scope}, receive, send))
        await entered.wait()
        asking.cancel()
        await asyncio.wait({asking})
    assert [line["status"] for line in lines] == [ac.CLIENT_CLOSED_STATUS] * 2 * len(TARGETS)
    assert telling(lines) == []


async def test_requests_that_the_protocol_refuses(platform: Platform, lines: list[dict[str, Any]]) -> None:
    stop, ports = asyncio.Event(), asyncio.Queue[int]()
    serving = asyncio.create_task(serve(create_app(platform), "127.0.0.1", 0, stop=stop, bound=ports.put_nowait))
    async with asyncio.timeout(60):
        port = await ports.get()
        for head, status in [
            (b"a: " + b"x" * (c.HTTP_HEADER_MAX_BYTES + 1), 431),
            (b"token hunter2", 400),
            (b"host: x\r\nconnection: close", 404),
        ]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            target = f"{PATHS[0]}?{QUERIES[0]}".encode()
            writer.write(b"GET " + target + b" HTTP/1.1\r\nuser-agent: " + AGENT.encode() + b"\r\n" + head + b"\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 %d" % status)
            writer.close()
        stop.set()
        await serving
    assert [line["status"] for line in lines] == [431, 400, 404]
    assert telling(lines) == []
