"""`http.request` against a real server on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from taskmill import Discard, Retry, TaskContext
from taskmill.plugin import Secret
from taskmill_http.config import HeaderSecret, HttpConfig
from taskmill_http.messages import HttpRequest, HttpResponse
from taskmill_http.plugin import request_task

pytestmark = pytest.mark.anyio
OPEN = HttpConfig(allow_private=True)
SECRETS = HttpConfig(
    allow_private=True,
    secrets={
        "API": HeaderSecret(value=Secret("geheim"), hosts=["127.0.0.1"]),
        "FAR": HeaderSecret(value=Secret("geheim"), hosts=["api.example"]),
    },
)


async def _echo(request: web.Request) -> web.Response:
    body = {"method": request.method, "headers": dict(request.headers), "body": await request.text()}
    return web.json_response(body, headers={"X-Request-Id": "r1", "X-Internal": "hidden"})


async def _status(request: web.Request) -> web.Response:
    headers = {"Retry-After": request.query["after"]} if "after" in request.query else {}
    return web.Response(status=int(request.match_info["status"]), text="because", headers=headers)


async def _redirect(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["status"]), headers={"Location": request.query["to"]})


async def _large(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1_000):
        await response.write("字".encode() * 1_000)
    return response


async def _hang(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/echo", _echo)
    app.router.add_route("*", "/status/{status}", _status)
    app.router.add_route("*", "/redirect/{status}", _redirect)
    app.router.add_get("/large", _large)
    app.router.add_get("/hang", _hang)
    async with TestServer(app, host="127.0.0.1", shutdown_timeout=0.1) as running:
        yield running


async def send(server: TestServer, context: TaskContext, path: str, config: HttpConfig = OPEN, **args: Any) -> HttpResponse:
    url = path if path.startswith("http") else str(server.make_url(path))
    return await request_task(config)(HttpRequest(url=url, **args), context)


async def test_get(server: TestServer, context: TaskContext) -> None:
    result = await send(server, context, "/echo")
    echoed = msgspec.json.decode(result.body)
    assert (result.status, echoed["method"], result.truncated) == (200, "GET", False)
    assert echoed["headers"]["Idempotency-Key"] == str(context.id)
    assert result.headers["X-Request-Id"] == "r1"
    assert "X-Internal" not in result.headers
    assert result.elapsed_ms >= 0
    assert msgspec.json.encode(result)


@pytest.mark.parametrize(
    ("args", "body", "content_type"),
    [
        ({"json": {"a": [1]}}, '{"a":[1]}', "application/json"),
        ({"json": None}, "null", "application/json"),
        ({"body": "文字", "headers": {"Content-Type": "text/plain"}}, "文字", "text/plain"),
    ],
)
async def test_body(server: TestServer, context: TaskContext, args: dict[str, Any], body: str, content_type: str) -> None:
    echoed = msgspec.json.decode((await send(server, context, "/echo", method="POST", **args)).body)
    assert (echoed["method"], echoed["body"], echoed["headers"]["Content-Type"]) == ("POST", body, content_type)


async def test_own_idempotency_key_wins(server: TestServer, context: TaskContext) -> None:
    result = await send(server, context, "/echo", headers={"idempotency-key": "mine"})
    sent = {name.lower(): value for name, value in msgspec.json.decode(result.body)["headers"].items()}
    assert sent["idempotency-key"] == "mine"


@pytest.mark.parametrize(
    ("status", "after", "outcome", "seconds"),
    [
        (408, None, Retry, None),
        (425, None, Retry, None),
        (429, "7", Retry, 7.0),
        (503, "99999999", Retry, 3600.0),
        (500, "soon", Retry, None),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT", Retry, 0.0),
        (400, None, Discard, None),
        (404, "7", Discard, None),
        (304, None, Discard, None),
    ],
)
async def test_unexpected_status(
    server: TestServer, context: TaskContext, status: int, after: str | None, outcome: type[Exception], seconds: float | None
) -> None:
    query = "" if after is None else f"?after={after}"
    with pytest.raises(outcome, match=f"status {status}") as caught:
        await send(server, context, f"/status/{status}{query}")
    assert getattr(caught.value, "after", None) == seconds


async def test_expected_status_is_a_result(server: TestServer, context: TaskContext) -> None:
    assert (await send(server, context, "/status/404", expected_status=[200, 404])).status == 404
    with pytest.raises(Discard, match="status 200"):
        await send(server, context, "/echo", expected_status=[404])
    with pytest.raises(Discard, match=r"^status 200: .{199}…$"):  # 引用不完整就看得出来
        await send(server, context, "/echo", json="x" * 300, method="POST", expected_status=[404])
    assert (await send(server, context, "/redirect/302?to=/echo", expected_status=[302])).headers["Location"] == "/echo"


async def test_large_answer_is_cut(server: TestServer, context: TaskContext) -> None:
    result = await send(server, context, "/large", max_response_bytes=3_000)
    assert (result.body, result.truncated) == ("字" * 1_000, True)
    limited = await send(
        server, context, "/large", HttpConfig(allow_private=True, response_max_bytes=30), max_response_bytes=3_000
    )
    assert len(limited.body) == 10


async def test_timeout_and_refused_connection_are_retried(
    server: TestServer, context: TaskContext, unused_tcp_port: int
) -> None:
    with pytest.raises(Retry, match="no answer within"):
        await send(server, context, "/hang", timeout_s=0.05)
    with pytest.raises(Retry, match="ClientConnectorError"):
        await send(server, context, f"http://127.0.0.1:{unused_tcp_port}/")
    with pytest.raises(Discard, match="timeout_s"):
        await send(server, context, "/echo", timeout_s=10_000)


@pytest.mark.parametrize(
    ("status", "method", "then", "kept"),
    [
        (301, "POST", "GET", ""),
        (302, "POST", "GET", ""),
        (303, "PUT", "GET", ""),
        (307, "POST", "POST", "x"),
        (308, "PUT", "PUT", "x"),
    ],
)
async def test_redirect(server: TestServer, context: TaskContext, status: int, method: str, then: str, kept: str) -> None:
    result = await send(server, context, f"/redirect/{status}?to=/echo", method=method, body="x")
    echoed = msgspec.json.decode(result.body)
    assert (echoed["method"], echoed["body"]) == (then, kept)
    assert result.url.endswith("/echo")


async def test_redirects_end(server: TestServer, context: TaskContext) -> None:
    loop = server.make_url("/redirect/302").with_query(to="")
    with pytest.raises(Discard, match="more than 5 redirects"):
        await send(server, context, str(loop))
    with pytest.raises(Discard, match="only http"):
        await send(server, context, "/redirect/302?to=file:///etc/passwd")


async def test_secret_reaches_its_host_only(server: TestServer, context: TaskContext) -> None:
    result = await send(
        server, context, "/echo", SECRETS, headers={"Authorization": "Bearer secret:API", "X-Key": "secret:API"}
    )
    sent = msgspec.json.decode(result.body)["headers"]
    assert (sent["Authorization"], sent["X-Key"]) == ("Bearer geheim", "geheim")
    for name in ("FAR", "NONE"):
        with pytest.raises(Discard, match=name) as caught:
            await send(server, context, "/echo", SECRETS, headers={"X-Key": f"secret:{name}"})
        assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"Host": "x"}, {"content-length": "3"}, {"X": "a\r\nY: b"}, {"X Y": "a"}, {"": "a"}])
async def test_forbidden_headers(server: TestServer, context: TaskContext, headers: dict[str, str]) -> None:
    with pytest.raises(Discard, match="header"):
        await send(server, context, "/echo", headers=headers)


def test_json_and_body_exclude_each_other() -> None:
    with pytest.raises(msgspec.ValidationError, match="not both"):
        msgspec.json.decode(b'{"url":"http://a","json":1,"body":"x"}', type=HttpRequest)


@pytest.fixture
def unused_tcp_port() -> int:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
