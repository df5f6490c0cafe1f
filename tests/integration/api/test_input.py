"""Malformed input: always a coded envelope that names field and reason, never a 500."""

from __future__ import annotations

import httpx2
import pytest

from taskmill import constants as c
from taskmill.services.platform import Platform
from tests.support import api
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"
JSON = {"Content-Type": "application/json"}


def _deep(levels: int) -> bytes:
    return b'{"kind":"%s","args":{"a":' % KIND.encode() + b"[" * levels + b"]" * levels + b"}}"


def _with(fields: str) -> bytes:
    return f'{{"kind":"{KIND}",{fields}}}'.encode()


@pytest.mark.parametrize(
    ("raw", "status", "code", "field"),
    [
        (b"", 400, "MALFORMED_JSON", None),
        (b"{", 400, "MALFORMED_JSON", None),
        (b"nope", 400, "MALFORMED_JSON", None),
        (b'{"kind":"a"}}', 400, "MALFORMED_JSON", None),
        (b'{"kind":"\xff\xfe"}', 400, "MALFORMED_JSON", None),
        (b'\xef\xbb\xbf{"kind":"a"}', 400, "MALFORMED_JSON", None),
        (b'{"kind":"\\ud800"}', 400, "MALFORMED_JSON", None),
        (b'{"kind":NaN}', 400, "MALFORMED_JSON", None),
        (b"null", 422, "INVALID_REQUEST", "body"),
        (b"[]", 422, "INVALID_REQUEST", "body"),
        (b'"text"', 422, "INVALID_REQUEST", "body"),
        (b"{}", 422, "INVALID_REQUEST", "kind"),
        (b'{"kind":7}', 422, "INVALID_REQUEST", "kind"),
        (b'{"kind":""}', 422, "INVALID_REQUEST", "kind"),
        (b'{"kind":"no such kind"}', 422, "INVALID_REQUEST", "kind"),
        (b'{"kind":"no.such"}', 422, "KIND_NOT_FOUND", None),
        (b'{"kind":"a\\u0000b"}', 422, "INVALID_REQUEST", "kind"),
        (_with('"colour":"red"'), 422, "INVALID_REQUEST", "colour"),
        (_with('"priority":"1"'), 422, "INVALID_REQUEST", "priority"),
        (_with('"priority":0'), 422, "INVALID_REQUEST", "priority"),
        (_with('"priority":9'), 422, "INVALID_REQUEST", "priority"),
        (_with('"priority":1.5'), 422, "INVALID_REQUEST", "priority"),
        (_with('"version":99'), 422, None, None),
        (_with('"version":99999999999999999999'), 422, None, None),
        (_with('"queue":"a b"'), 422, "INVALID_REQUEST", "queue"),
        (_with('"queue":""'), 422, "INVALID_REQUEST", "queue"),
        (_with('"queue":"%s"' % ("q" * 101)), 422, "INVALID_REQUEST", "queue"),
        (_with('"delay_s":-1'), 422, "INVALID_REQUEST", "delay_s"),
        (_with('"delay_s":1e300'), 422, "INVALID_REQUEST", "delay_s"),
        (_with('"delay_s":1,"run_at":"2030-01-01T00:00:00Z"'), 422, "INVALID_REQUEST", "delay_s"),
        (_with('"run_at":"2026-01-01T00:00:00"'), 422, "INVALID_REQUEST", "run_at"),
        (_with('"run_at":"soon"'), 422, "INVALID_REQUEST", "run_at"),
        (_with('"expires_at":"2026-01-01T00:00:00"'), 422, "INVALID_REQUEST", "expires_at"),
        (_with('"max_attempts":0'), 422, "INVALID_REQUEST", "max_attempts"),
        (_with('"max_attempts":1001'), 422, "INVALID_REQUEST", "max_attempts"),
        (_with('"timeout_s":0'), 422, "INVALID_REQUEST", "timeout_s"),
        (_with('"timeout_s":1e12'), 422, "INVALID_REQUEST", "timeout_s"),
        (_with('"tags":"a"'), 422, "INVALID_REQUEST", "tags"),
        (_with('"tags":["a",7]'), 422, "INVALID_REQUEST", "tags[1]"),
        (_with('"tags":["a","b c"]'), 422, "INVALID_REQUEST", "tags[1]"),
        (_with('"tags":["a\\u001fb"]'), 422, "INVALID_REQUEST", "tags[0]"),
        (_with('"meta":[]'), 422, "INVALID_REQUEST", "meta"),
        (_with('"meta":{"a":"\\u0000"}'), 422, "ARGS_INVALID", None),
        (_with('"args":[]'), 422, "ARGS_INVALID", "args"),
        (_with('"args":null'), 422, "ARGS_INVALID", "args"),
        (_with('"args":{"n":"x"}'), 422, "ARGS_INVALID", None),
        (_with('"args":{"colour":1}'), 422, "ARGS_INVALID", None),
        (_with('"args":{"text":"a\\u0000"}'), 422, "ARGS_INVALID", None),
        (_with('"args":{"n":1e400}'), 422, None, None),
        (_deep(100), 422, None, None),
        (_deep(100_000), 422, "ARGS_TOO_DEEP", "body"),
        (_with('"args":{"text":"%s"}' % ("x" * c.ARGS_MAX_BYTES)), 413, "ARGS_TOO_LARGE", "args"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, bytes) else "",
)
async def test_a_wrong_task(
    client: httpx2.AsyncClient, raw: bytes, status: int, code: str | None, field: str | None
) -> None:
    answer = await client.post(TASKS, content=raw, headers=JSON)
    found = api.envelope(answer)
    assert answer.status_code == status, found
    if code is not None:
        assert found["code"] == code, found
    if field is not None:
        assert found["details"]["field"] == field, found


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"{}", "tasks"),
        (b'{"tasks":[]}', "tasks"),
        (b'{"tasks":{}}', "tasks"),
        (b'{"tasks":[{}]}', "tasks[0].kind"),
        (b'{"tasks":[{"kind":"a.b","x":1}]}', "tasks[0].x"),
        (b'{"tasks":[],"more":1}', None),
    ],
)
async def test_a_wrong_batch(client: httpx2.AsyncClient, raw: bytes, field: str | None) -> None:
    details = refusal(await client.post(f"{TASKS}/batch", content=raw, headers=JSON), 422, "INVALID_REQUEST")
    if field is not None:
        assert details["field"] == field


async def test_a_batch_that_is_too_long(database_url: str, broker_url: str) -> None:
    async with (
        api.opened(database_url, broker_url, batch_max_tasks=3) as platform,
        api.api(platform) as client,
    ):
        body = {"tasks": [{"kind": KIND}] * 4}
        assert refusal(await client.post(f"{TASKS}/batch", json=body), 413, "BATCH_TOO_LARGE") == {"limit": 3, "size": 4}


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON;charset=UTF-8", True),
        ("application/json; charset=latin-1", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("", False),
    ],
)
async def test_only_json_is_taken(client: httpx2.AsyncClient, header: str, accepted: bool) -> None:
    answer = await client.post(TASKS, content=b'{"kind":"%s"}' % KIND.encode(), headers={"Content-Type": header})
    if accepted:
        data(answer, 201)
    else:
        assert "content_type" in refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("path", [TASKS, f"{TASKS}/batch", f"{TASKS}/01890000-0000-7000-8000-000000000000/cancel"])
async def test_bodies_are_limited(database_url: str, broker_url: str, path: str, declared: bool) -> None:
    async def chunks() -> object:
        for _ in range(4):
            yield b" " * 1024

    async with (
        api.opened(database_url, broker_url, body_max_bytes=2048, batch_body_max_bytes=3072) as platform,
        api.api(platform) as client,
    ):
        answer = await client.post(path, content=b" " * 4096 if declared else chunks(), headers=JSON)
        assert refusal(answer, 413, "BODY_TOO_LARGE")["limit"] <= 3072


async def test_actions_take_no_body(client: httpx2.AsyncClient) -> None:
    task_id = data(await client.post(TASKS, json={"kind": KIND}), 201)["id"]
    refusal(await client.post(f"{TASKS}/{task_id}/cancel", json={"reason": "because"}), 422, "INVALID_REQUEST")
    data(await client.post(f"{TASKS}/{task_id}/cancel", json={}))


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/api/v1", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/api/v2/tasks", 404, "ROUTE_NOT_FOUND"),
        ("POST", "/nothing", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/schema/nothing", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/schema/static/nothing.js", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/schema/static/../app.py", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/schema/static/%2e%2e/app.py", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/%00", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/plugins/none/x", 404, "ROUTE_NOT_FOUND"),
        ("DELETE", TASKS, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/healthz", 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"{TASKS}/batch", 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", "/api/v1/queues/a", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", TASKS, 405, "METHOD_NOT_ALLOWED"),
        ("BREW", TASKS, 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_routes_that_do_not_exist(client: httpx2.AsyncClient, method: str, path: str, status: int, code: str) -> None:
    answer = await client.request(method, path)
    refusal(answer, status, code)
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123.X:y_z", True), ("", False), ("a b", False), ("ü", False), ("x" * 101, False), ("x" * 100, True)],
)
async def test_the_request_number_comes_back(client: httpx2.AsyncClient, given: str, kept: bool) -> None:
    answer = await client.get("/healthz", headers={"X-Request-Id": given.encode()})
    found = api.envelope(answer)["request_id"]
    assert (found == given) is kept
    assert found


@pytest.mark.parametrize(
    "query",
    [
        "created_after=0001-01-01T00:00:00Z",
        "created_before=9999-12-31T23:59:59Z",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "queue=%ff",
        "tag=%F0%9F%98%80",
        "kind=%27;drop%20table",
    ],
)
async def test_odd_but_valid_queries_answer(client: httpx2.AsyncClient, query: str) -> None:
    assert (await client.get(f"{TASKS}?{query}")).status_code in {200, 422}


@pytest.mark.parametrize("name", ["%00", "x" * 101])
async def test_names_that_cannot_exist(client: httpx2.AsyncClient, name: str) -> None:
    for path in (f"/api/v1/queues/{name}", f"/api/v1/kinds/{name}", f"/api/v1/scaling/{name}"):
        refusal(await client.get(path), 422, "INVALID_REQUEST")


async def test_a_group_commit_is_not_harmed_by_odd_neighbours(client: httpx2.AsyncClient, platform: Platform) -> None:
    for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        for field in ("run_at", "expires_at"):
            answer = await client.post(TASKS, content=_with(f'"{field}":"{moment}"'), headers=JSON)
            assert answer.status_code in {201, 422}, api.envelope(answer)
