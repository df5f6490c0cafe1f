"""Tasks as a client wrote them: counted before there is a list of them, measured before they are decoded, one at a time."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import msgspec
import pytest
from litestar import Request

from taskmill import constants as c
from taskmill.api import constants as ac
from taskmill.api import task_body
from taskmill.api.task_body import Tasks
from taskmill.errors import Code, TaskmillError
from taskmill.services import constants as svc
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings

pytestmark = pytest.mark.anyio
ARGS_MAX = 1_000
RAW_MAX = ac.TASK_RAW_FACTOR * (ARGS_MAX + c.META_MAX_BYTES) + ac.TASK_RAW_REST


def request_of(raw: bytes) -> Request[Any, Any, Any]:
    """A request that brings this body."""

    async def receive() -> Any:
        return {"type": "http.request", "body": raw, "more_body": False}

    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "headers": headers}, receive=receive)  # type: ignore[arg-type, typeddict-item]


def settings(**given: Any) -> Settings:
    return Settings.model_validate({"database_url": "postgresql://h/d", "args_max_bytes": ARGS_MAX, **given})


def filled(size: int, filling: bytes, start: bytes = b'{"kind":"a.b","args":{"a":"', end: bytes = b'"}}') -> bytes:
    """Return a task of exactly `size` bytes; what does not divide is made up for by blanks at its end."""
    count, rest = divmod(size - len(start) - len(end), len(filling))
    return start + filling * count + end[:-1] + b" " * rest + end[-1:]


def batch(*tasks: bytes) -> bytes:
    return b'{"tasks":[' + b",".join(tasks) + b"]}"


def alive() -> int:
    return sum(isinstance(each, SubmitRequest) for each in gc.get_objects())


GOOD = b'{"kind":"a.b","args":{"n":[1]}}'
FILLINGS = {
    "letters": (b"x", b'{"kind":"a.b","args":{"a":"', b'"}}'),
    "escapes": (rb"\u00ff", b'{"kind":"a.b","args":{"a":"', b'"}}'),
    "blanks": (b" ", b'{"kind":"a.b",', b'"args":{}}'),
    "lists": (b"[],", b'{"kind":"a.b","args":{"a":[', b"[]]}}"),
}


@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS)
async def test_a_task_is_decoded_up_to_the_length_that_fitting_args_may_have_and_no_further(filling: Any) -> None:
    fits, longer = filled(RAW_MAX, *filling), filled(RAW_MAX + 1, *filling)
    assert (len(fits), len(longer)) == (RAW_MAX, RAW_MAX + 1)
    assert isinstance(await task_body.one(request_of(fits), settings()), SubmitRequest)
    assert len(list(await task_body.many(request_of(batch(GOOD, fits)), settings()))) == 2
    with pytest.raises(TaskmillError) as caught:
        await task_body.one(request_of(longer), settings())
    assert caught.value.code is Code.ARGS_TOO_LARGE
    assert caught.value.details == {"field": "args", "size": RAW_MAX + 1, "limit": ARGS_MAX}
    tasks = await task_body.many(request_of(batch(GOOD, longer)), settings())
    with pytest.raises(TaskmillError) as caught:
        list(tasks)
    assert caught.value.code is Code.ARGS_TOO_LARGE
    assert caught.value.details == {"field": "tasks[1].args", "size": RAW_MAX + 1, "limit": ARGS_MAX}


async def test_args_that_fit_are_never_too_long_however_they_are_escaped() -> None:
    longest = b'{"kind":"a.b","args":{"a":"' + rb"\u0061" * (ARGS_MAX - 8) + b'"},'
    longest += b'"meta":{"a":"' + rb"\u0061" * (c.META_MAX_BYTES - 8) + b'"},'
    tag = b'"' + rb"\u0061" * c.NAME_MAX_CHARS + b'"'
    longest += b'"queue":' + tag + b',"tags":[' + b",".join([tag] * svc.TAGS_MAX) + b"]}"
    found = await task_body.one(request_of(longest), settings())
    assert len(msgspec.json.encode(found.args)) == ARGS_MAX
    assert len(msgspec.json.encode(found.meta)) == c.META_MAX_BYTES


def test_a_task_is_decoded_when_it_is_asked_for_and_not_kept() -> None:
    before = alive()
    tasks = Tasks([msgspec.Raw(GOOD)] * 3 + [msgspec.Raw(b'{"kind":7}')], ARGS_MAX)
    assert len(tasks) == 4
    each = iter(tasks)
    for _ in range(3):
        assert alive() == before
        assert next(each).kind == "a.b"
    with pytest.raises(TaskmillError) as caught:
        next(each)
    assert caught.value.details["field"] == "tasks[3].kind"


@pytest.mark.parametrize(
    ("task", "code", "field"),
    [
        (b'{"kind":"a.b","priority":"1"}', Code.INVALID_REQUEST, "tasks[2].priority"),
        (b'{"kind":"a.b","priority":1.5}', Code.INVALID_REQUEST, "tasks[2].priority"),
        (b'{"kind":"a.b","tags":["a",7]}', Code.INVALID_REQUEST, "tasks[2].tags[1]"),
        (b'{"kind":"a.b","meta":[]}', Code.INVALID_REQUEST, "tasks[2].meta"),
        (b'{"kind":"a.b","colour":1}', Code.INVALID_REQUEST, "tasks[2].colour"),
        (b'{"kind":7}', Code.INVALID_REQUEST, "tasks[2].kind"),
        (b"{}", Code.INVALID_REQUEST, "tasks[2].kind"),
        (b'{"kind":"a.b","args":{"n":1e400}}', Code.INVALID_REQUEST, "tasks[2].args"),
        (b'{"kind":"\xff"}', Code.MALFORMED_JSON, None),
    ],
)
async def test_what_is_wrong_in_a_task_is_named_by_its_place_in_the_body(task: bytes, code: Code, field: str | None) -> None:
    tasks = await task_body.many(request_of(batch(GOOD, GOOD, task, b'{"kind":8}')), settings())
    with pytest.raises(TaskmillError) as caught:
        list(tasks)
    assert caught.value.code is code
    if field is not None:
        assert str(caught.value.details["field"]).startswith(field)


@pytest.mark.parametrize(
    ("raw", "code", "details"),
    [
        (b"{}", Code.INVALID_REQUEST, {"field": "tasks"}),
        (b'{"tasks":[]}', Code.INVALID_REQUEST, {"field": "tasks"}),
        (b'{"tasks":{}}', Code.INVALID_REQUEST, {"field": "tasks"}),
        (b'{"tasks":null}', Code.INVALID_REQUEST, {"field": "tasks"}),
        (b'{"tasks":"a"}', Code.INVALID_REQUEST, {"field": "tasks"}),
        (b'{"tasks":[%s],"more":1}' % GOOD, Code.INVALID_REQUEST, {"field": "more"}),
        (b"[]", Code.INVALID_REQUEST, {"field": "body"}),
        (b"7", Code.INVALID_REQUEST, {"field": "body"}),
        (batch(GOOD, b"5", b"6"), Code.INVALID_REQUEST, {"field": "tasks[1]", "index": 1}),
        (batch(GOOD, GOOD, b"null"), Code.INVALID_REQUEST, {"field": "tasks[2]", "index": 2}),
        (b"", Code.MALFORMED_JSON, {}),
        (batch(GOOD)[:-1], Code.MALFORMED_JSON, {}),
        (batch(GOOD + b","), Code.MALFORMED_JSON, {}),
        (batch(rb'{"kind":"\ud800"}'), Code.MALFORMED_JSON, {}),
        (b'{"tasks":[' + b"[" * 200_000, Code.INVALID_REQUEST, {"field": "tasks[0]", "index": 0}),
        (batch(b'{"args":' + b"[" * 200_000), Code.ARGS_TOO_DEEP, {"field": "body"}),
        (batch(*[b'{"kind":7}'] * 4), Code.BATCH_TOO_LARGE, {"size": 4, "limit": 3}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_wrong_around_the_tasks_is_said_before_one_is_decoded(
    raw: bytes, code: Code, details: dict[str, Any]
) -> None:
    with pytest.raises(TaskmillError) as caught:
        await task_body.many(request_of(raw), settings(batch_max_tasks=3))
    assert caught.value.code is code
    assert {name: caught.value.details.get(name) for name in details} == details


@pytest.mark.parametrize("element", [b"0", b"{}", b'{"kind":""}'])
async def test_a_list_that_is_far_too_long_takes_no_memory(element: bytes) -> None:
    request = request_of(batch(*[element] * 400_000))
    tracemalloc.start()
    try:
        with pytest.raises(TaskmillError) as caught:
            await task_body.many(request, settings())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code is (Code.INVALID_REQUEST if element == b"0" else Code.BATCH_TOO_LARGE)
    assert peak < 6 * 2**20  # 列表里每个任务 56 字节，就是 22 兆


@pytest.mark.parametrize(
    ("sent", "limit", "told"),
    [
        (ac.BATCH_COUNTED_MAX, c.BATCH_MAX_TASKS, ac.BATCH_COUNTED_MAX),
        (ac.BATCH_COUNTED_MAX + 2, c.BATCH_MAX_TASKS, ac.BATCH_COUNTED_MAX + 1),
        (ac.BATCH_COUNTED_MAX + 2, ac.BATCH_COUNTED_MAX + 2, None),
        (ac.BATCH_COUNTED_MAX + 3, ac.BATCH_COUNTED_MAX + 2, ac.BATCH_COUNTED_MAX + 3),
    ],
)
async def test_tasks_are_counted_up_to_a_bound_or_the_limit_that_is_set(sent: int, limit: int, told: int | None) -> None:
    request = request_of(batch(*[b"{}"] * sent))
    if told is None:
        assert len(await task_body.many(request, settings(batch_max_tasks=limit))) == sent
        return
    with pytest.raises(TaskmillError) as caught:
        await task_body.many(request, settings(batch_max_tasks=limit))
    assert caught.value.details == {"size": told, "limit": limit}
