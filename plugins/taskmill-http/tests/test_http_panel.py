"""The panel of a task: request and answer as they were stored, without the values of what looks like a secret."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from taskmill.plugin import Row, TaskFacts, Words
from taskmill_http.panel import rows

pytestmark = pytest.mark.anyio
ANSWER = {"status": 200, "url": "https://b.example/x", "headers": {}, "body": "", "truncated": False, "elapsed_ms": 5}


def facts(args: Any, result: Any = None, error: Any = None) -> TaskFacts:
    return TaskFacts(
        id=UUID(int=1),
        kind="http.request",
        queue="default",
        state="running",
        attempt=1,
        max_attempts=3,
        args=args,
        meta=None,
        result=result,
        error=error,
    )


async def labelled(task: TaskFacts) -> dict[str, Row]:
    return {row.label.en if isinstance(row.label, Words) else row.label: row for row in await rows(task)}


@pytest.mark.parametrize(
    ("args", "label", "value", "form"),
    [
        ({"url": "http://a.example"}, "Request", "GET http://a.example", "text"),
        ({"url": "http://a.example/?api_key=k&b=1", "method": "PUT"}, "Request", "PUT http://a.example/?api_key=***&b=1", "text"),
        ({"url": "http://[broken"}, "Request", "GET http://[broken", "text"),
        ({"url": "u", "headers": {"Cookie": "a=b", "Accept": "*/*"}}, "Request headers", {"Cookie": "***", "Accept": "*/*"}, "json"),
        ({"url": "u", "headers": {"X-Api-Key": "secret:A"}}, "Request headers", {"X-Api-Key": "secret:A"}, "json"),
        ({"url": "u", "headers": {"Authorization": "Bearer secret:A"}}, "Request headers", {"Authorization": "Bearer secret:A"}, "json"),
        ({"url": "u", "json": {"a": [{"password": "p"}]}}, "Request body", {"a": [{"password": "***"}]}, "json"),
        ({"url": "u", "json": {"token": {"deep": 1}}}, "Request body", {"token": "***"}, "json"),
        ({"url": "u", "json": None}, "Request body", None, "json"),
        ({"url": "u", "body": '{"secret": 1}'}, "Request body", {"secret": "***"}, "json"),
        ({"url": "u", "body": "{no json"}, "Request body", "{no json", "code"),
        ({"url": "u", "body": "plain"}, "Request body", "plain", "code"),
        (None, "Request", "GET ", "text"),
    ],
)  # fmt: skip
async def test_the_request(args: Any, label: str, value: Any, form: str) -> None:
    row = (await labelled(facts(args)))[label]
    assert (row.value, row.form) == (value, form)


@pytest.mark.parametrize(
    ("result", "error", "label", "value"),
    [
        (ANSWER, None, "Answer", "200 after 5 ms"),
        (ANSWER, None, "From", "https://b.example/x"),
        (ANSWER | {"headers": {"ETag": "1"}}, None, "Answer headers", {"ETag": "1"}),
        (ANSWER | {"body": '{"access_token": "t", "n": 1}'}, None, "Answer body", {"access_token": "***", "n": 1}),
        (ANSWER | {"body": "text"}, None, "Answer body", "text"),
        (ANSWER | {"incomplete": "cut off"}, None, "Incomplete", "cut off"),
        (None, {"type": "Retry", "message": "status 503", "message_zh": None}, "Last attempt", "status 503"),
        (None, None, "Answer", "none yet"),
    ],
)
async def test_the_answer(result: Any, error: Any, label: str, value: Any) -> None:
    row = (await labelled(facts({"url": "u"}, result, error)))[label]
    assert (row.value.en if isinstance(row.value, Words) else row.value) == value
