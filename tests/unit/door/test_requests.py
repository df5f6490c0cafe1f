"""`kind.request(…)`: the args of a call without context and dependencies, and the result as the type that the handler declares."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pydantic
import pytest
from taskiq import TaskiqDepends

from taskmill import TaskContext, TaskRequest, task
from taskmill.controls.options import SubmitOptions
from taskmill.controls.unique import Unique
from taskmill.errors import InputError
from taskmill.services.tasks.guests import written
from taskmill.services.tasks.submit_request import SubmitRequest, request_of

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


class Size(msgspec.Struct):
    width: int
    height: int = 10


class Mail(pydantic.BaseModel):
    to: str
    reply_to: str | None = pydantic.Field(None, alias="replyTo")


@dataclass
class Point:
    x: int


def helper() -> int:
    return 1


@task("t.first")
async def first(ctx: TaskContext, url: str, at: datetime | None = None) -> Size:
    return Size(1)


@task("t.last", version=3)
async def last(size: Size, ctx: TaskContext) -> Mail:
    return Mail(to=str(size))


@task("t.plain")
def plain(mail: Mail) -> list[Point]:
    return []


@task("t.depends")
async def depends(a: int, other: int = TaskiqDepends(helper), b: int = 2) -> Mail | Point:
    return Point(a + b + other)


@task("t.untyped")
def untyped(value: Any):
    return value


@pytest.mark.parametrize(
    ("request_", "args"),
    [
        (first.request("u"), {"url": "u"}),
        (first.request(url="u", at=NOON), {"url": "u", "at": "2030-01-02T12:00:00Z"}),
        (last.request(Size(3)), {"width": 3, "height": 10}),
        (plain.request(mail=Mail(to="a", replyTo="b")), {"to": "a", "replyTo": "b"}),
        (depends.request(1, b=5), {"a": 1, "b": 5}),
        (untyped.request({"any": [1, None]}), {"value": {"any": [1, None]}}),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_request_has_the_args_that_were_given(request_: TaskRequest[Any], args: dict[str, Any]) -> None:
    assert request_.args == args


def test_a_request_is_for_the_version_of_its_definition() -> None:
    assert (last.request(Size(1)).version, first.request("u").version) == (3, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        first.request,
        lambda: first.request("u", ctx=None),
        lambda: depends.request(1, other=2),
        lambda: last.request(1, 2),
    ],
    ids=["missing", "context", "dependency", "too many"],
)
def test_what_the_handler_does_not_take_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.parametrize(
    ("request_", "raw", "result"),
    [
        (first.request("u"), b'{"width": 4}', Size(4)),
        (last.request(Size(1)), b'{"to": "a", "reply_to": "b"}', Mail(to="a", replyTo="b")),
        (plain.request(Mail(to="a")), b'[{"x": 1}]', [Point(1)]),
        (depends.request(1), b'{"x": 1}', Point(1)),
        (untyped.request(1), b'[1, {"a": null}]', [1, {"a": None}]),
        (untyped.request(1), b"null", None),
    ],
)
def test_a_result_is_read_as_what_the_handler_declares(request_: TaskRequest[Any], raw: bytes, result: Any) -> None:
    assert request_.read(raw) == result


def test_options_of_a_request_give_way_to_those_of_the_submit() -> None:
    asked = first.request("u").having(priority=1, queue="a").having(queue="b")
    made = request_of(asked, None, {"queue": "c"})
    assert (made.kind, made.args, made.version, made.priority, made.queue) == ("t.first", {"url": "u"}, 1, 1, "c")
    assert first.request("u").options == {}


def test_a_request_may_be_made_by_hand_with_the_type_of_its_result() -> None:
    made = TaskRequest[int]("t.plain", {"a": 1}).having(priority=1)
    assert (made.kind, made.options, made.version) == ("t.plain", {"priority": 1}, None)


def test_args_of_a_named_kind_may_be_any_type() -> None:
    assert request_of("t.last", Size(3)).args == {"width": 3, "height": 10}
    assert request_of("t.last").args == {}


@pytest.mark.parametrize(
    "options", [{"colour": 1}, {"priority": "high"}, {"run_at": "soon"}, {"unique": {"while": 1}}], ids=str
)
def test_an_option_that_does_not_fit_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        request_of(first.request("u"), None, options)
    assert next(iter(options)) in str(caught.value)


def test_ids_are_given_as_they_are_or_as_texts_and_written_as_texts() -> None:
    parent = UUID(int=7)
    made = [request_of("t.plain", None, {"depends_on": [given]}) for given in (parent, str(parent))]
    assert [each.depends_on for each in made] == [[parent], [parent]]
    assert written(made[:1]) == f'[{{"kind":"t.plain","args":{{}},"depends_on":["{parent}"]}}]'


def test_objects_are_options_too() -> None:
    made = request_of(first.request("u"), None, {"run_at": NOON, "unique": Unique(by=["url"])})
    assert (made.run_at, made.unique) == (NOON, Unique(by=["url"]))


def test_the_options_are_those_of_rest() -> None:
    """A field that REST has and Python has not, or the other way round, is a line in `controls/options.py`."""
    rest = {field.name: field for field in msgspec.structs.fields(SubmitRequest) if field.name not in {"kind", "args"}}
    python = get_type_hints(SubmitOptions)
    assert set(python) == set(rest)
    for name, hint in python.items():
        values = {
            int: 1,
            float: 0.5,
            str: "x",
            datetime: NOON,
            list[str]: ["x"],
            list[UUID]: [UUID(int=7)],
            dict[str, Any]: {},
        }
        for value in [values[hint]] if hint in values else get_args(hint) if get_origin(hint) is Literal else []:
            assert msgspec.convert(value, rest[name].type) == value


def test_a_definition_still_calls_its_function() -> None:
    assert inspect.iscoroutinefunction(first.function)
    assert untyped(3) == 3
