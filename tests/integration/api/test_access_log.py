"""One line per request without exception, with everything the design names and nothing secret."""

from __future__ import annotations

from typing import Any

import anyio
import httpx2
import pytest
from litestar.types import Message, Receive, Scope, Send

from taskmill import constants as c
from taskmill.api import constants as ac
from taskmill.api.access_log import AccessLog
from taskmill.services.platform import Platform
from tests.support.api import KIND, data
from tests.support.api import client as client_of

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"
FIELDS = {
    "method",
    "path",
    "query",
    "status",
    "duration_ms",
    "request_id",
    "ip",
    "user_agent",
    "user_id",
    "request_body",
    "response_body",
}


async def test_every_kind_of_answer_is_one_line(client: httpx2.AsyncClient, lines: list[dict[str, Any]]) -> None:
    anonymous = {"Authorization": ""}
    for method, path, options, status in [
        ("POST", TASKS, {"json": {"kind": KIND}}, 201),
        ("GET", f"{TASKS}?page=1", {}, 200),
        ("GET", "/healthz", {}, 200),
        ("POST", TASKS, {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("GET", TASKS, {"headers": anonymous}, 401),
        ("GET", "/nothing", {}, 404),
        ("DELETE", TASKS, {}, 405),
        ("POST", TASKS, {"content": b"x"}, 415),
        ("POST", TASKS, {"json": {}}, 422),
        ("GET", "/metrics", {}, 200),
    ]:
        lines.clear()
        answer = await client.request(method, path, **options)
        assert answer.status_code == status, path
        [line] = lines
        assert set(line) >= FIELDS, path
        assert (line["method"], line["path"], line["status"]) == (method, path.partition("?")[0], status)
        assert line["request_id"] == answer.headers["x-request-id"]
        assert line["duration_ms"] > 0


async def test_a_line_says_who_asked_what_and_what_was_answered(
    client: httpx2.AsyncClient, lines: list[dict[str, Any]]
) -> None:
    body = {"kind": KIND, "args": {"text": "hello"}, "meta": {"password": "hunter2"}}
    await client.post(f"{TASKS}?token=hunter2", json=body, headers={"User-Agent": "tests/1"})
    [line] = lines
    assert (line["ip"], line["user_agent"], line["user_id"]) == ("127.0.0.1", "tests/1", "key:tests")
    assert "hello" in line["request_body"]
    assert '"code":"OK"' in line["response_body"]
    assert "hunter2" not in str(line)
    assert client.headers["authorization"].split()[1] not in str(line)


async def test_bodies_are_cut_at_fifty_kilobytes(client: httpx2.AsyncClient, lines: list[dict[str, Any]]) -> None:
    await client.post(TASKS, json={"kind": KIND, "args": {"text": "x" * 100_000}})
    [line] = lines
    assert line["request_body"].endswith(c.TRUNCATED)
    assert len(line["request_body"]) == ac.BODY_LOG_MAX_BYTES + len(c.TRUNCATED)


async def test_binary_bodies_are_named_only(client: httpx2.AsyncClient, lines: list[dict[str, Any]]) -> None:
    await client.post(TASKS, content=b"\x89PNG", headers={"Content-Type": "image/png"})
    await client.get("/schema/static/swagger-ui/favicon-32x32.png")
    assert lines[1]["response_body"] == "<image/png>"


async def test_a_500_is_logged_and_enveloped(platform: Platform, lines: list[dict[str, Any]]) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async with client_of(AccessLog(broken)) as client:  # type: ignore[arg-type]
        answer = await client.get("/x")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert [line["status"] for line in lines] == [500]


async def _raw(app: Any, receive: Any) -> list[Message]:
    sent: list[Message] = []
    scope = {"type": "http", "method": "POST", "path": TASKS, "headers": [], "query_string": b"", "client": ("10.0.0.9", 1)}

    async def send(message: Message) -> None:
        sent.append(message)

    await AccessLog(app)(scope, receive, send)  # type: ignore[arg-type]
    return sent


async def test_a_client_that_leaves_while_sending_is_logged_as_499(lines: list[dict[str, Any]]) -> None:
    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    await _raw(reads, receive)
    [line] = lines
    assert (line["status"], line["ip"], line["request_body"]) == (ac.CLIENT_CLOSED_STATUS, "10.0.0.9", "{")


async def test_a_request_that_is_cancelled_is_logged_as_499(lines: list[dict[str, Any]]) -> None:
    started = anyio.Event()

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(_raw, hangs, None)
        await started.wait()
        group.cancel_scope.cancel()
    assert [line["status"] for line in lines] == [ac.CLIENT_CLOSED_STATUS]


async def test_the_access_log_keeps_every_line_at_any_level(client: httpx2.AsyncClient, lines: list[dict[str, Any]]) -> None:
    data(await client.get("/healthz"))
    assert len(lines) == 1
