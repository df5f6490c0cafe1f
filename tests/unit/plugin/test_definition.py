"""Kinds: names, durations, retry policies, and every form in which a handler may take its args."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from taskiq import TaskiqDepends

from taskmill import constants as c
from taskmill.plugin.call_plan import CallPlan
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import RetryPolicy, TaskDefinition, seconds, task


class Mail(msgspec.Struct):
    to: str
    copies: int = 1


@dataclass
class Letter:
    to: str
    copies: int = 1


class Post(pydantic.BaseModel):
    to: str
    copies: int = 1


async def by_struct(mail: Mail) -> None: ...
async def by_dataclass(letter: Letter, context: TaskContext) -> None: ...
async def by_pydantic(post: Post) -> Post: ...  # type: ignore[empty-body]
async def by_parameters(to: str, copies: int = 1) -> int: ...  # type: ignore[empty-body]
async def by_keywords(context: TaskContext, *, to: str, copies: int = 1) -> None: ...
async def nothing() -> None: ...
async def depending(to: str, extra: Annotated[int, TaskiqDepends()], more: int = TaskiqDepends()) -> None: ...
async def variadic(*args: int) -> None: ...
async def open_ended(**options: int) -> None: ...


FORMS = [by_struct, by_dataclass, by_pydantic, by_parameters, by_keywords]


@pytest.mark.parametrize("function", FORMS)
def test_every_form_decodes_the_same_args(function: Any) -> None:
    plan = CallPlan.of(function)
    found = plan.parameters(plan.decode(b'{"to": "a"}'))
    if plan.single is not None:
        found = found[plan.single]
    assert (found["to"], found["copies"]) == ("a", 1) if isinstance(found, dict) else (found.to, found.copies) == ("a", 1)


@pytest.mark.parametrize("function", FORMS)
@pytest.mark.parametrize("raw", [b"{}", b'{"to": 1}', b"[]", b'{"to": "a", "copies": "many"}'])
def test_every_form_refuses_what_does_not_fit(function: Any, raw: bytes) -> None:
    with pytest.raises((msgspec.ValidationError, pydantic.ValidationError)):
        CallPlan.of(function).decode(raw)


@pytest.mark.parametrize("function", FORMS)
def test_every_form_has_a_schema_that_names_its_fields(function: Any) -> None:
    text = msgspec.json.encode(CallPlan.of(function).schema())
    assert b'"to"' in text
    assert b'"copies"' in text


def test_the_context_is_found_by_its_type() -> None:
    assert CallPlan.of(by_dataclass).context == "context"
    assert CallPlan.of(by_struct).context is None


def test_no_parameters_means_no_args() -> None:
    plan = CallPlan.of(nothing)
    assert plan.parameters(plan.decode(b"{}")) == {}
    with pytest.raises(msgspec.ValidationError):
        plan.decode(b'{"surplus": 1}')


def test_dependencies_are_left_to_taskiq() -> None:
    plan = CallPlan.of(depending)
    assert plan.dependencies
    assert list(plan.parameters(plan.decode(b'{"to": "a"}'))) == ["to"]


@pytest.mark.parametrize("function", [variadic, open_ended])
def test_what_no_schema_can_describe_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="args"):
        task("test.any")(function)


@pytest.mark.parametrize(("function", "schema"), [(by_parameters, {"type": "integer"}), (depending, {"type": "null"})])
def test_the_result_schema_comes_from_the_annotation(function: Any, schema: dict[str, str]) -> None:
    assert CallPlan.of(function).result_schema() == schema


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), ("90s", 90), ("2m", 120), ("1.5h", 5_400), ("250ms", 0.25), ("1d", 86_400), (timedelta(minutes=1), 60)],
)
def test_seconds(value: Any, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize("value", ["", "5", "5 s", "-1s", "1w", "s"])
def test_seconds_refuses(value: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(value)


@pytest.mark.parametrize(
    "kind", ["", "one", "Area.verb", "area.", ".verb", "area verb.x", "a.b-c", "a." + "b" * 100, "a.b\n"]
)
def test_a_kind_must_look_like_area_verb(kind: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        task(kind)


@pytest.mark.parametrize(
    "options", [{"priority": 0}, {"priority": 5}, {"version": 0}, {"timeout": 0}, {"timeout": c.TIMEOUT_MAX_S + 1}]
)
def test_a_policy_out_of_bounds_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        task("test.any", **options)(nothing)


def test_a_definition_stays_a_plain_function() -> None:
    @task("test.double", queue="sums", timeout="2m", retry=RetryPolicy(max_attempts=7))
    def double(n: int) -> int:
        """Double a number.

        Not part of the summary.
        """
        return 2 * n

    assert isinstance(double, TaskDefinition)
    assert double(4) == 8
    assert (double.executor, double.summary, double.timeout_s, double.queue) == ("thread", "Double a number.", 120, "sums")


@pytest.mark.parametrize("number", [0, -1, c.MAX_ATTEMPTS_LIMIT + 1])
def test_retry_policy_bounds(number: int) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        RetryPolicy(max_attempts=number)


@pytest.mark.parametrize(
    ("policy", "error", "answer"),
    [
        (RetryPolicy(), ValueError(), True),
        (RetryPolicy(retry_on=(OSError,)), ConnectionError(), True),
        (RetryPolicy(retry_on=(OSError,)), ValueError(), False),
        (RetryPolicy(discard_on=(OSError,)), ConnectionError(), False),
        (RetryPolicy(retry_on=(OSError,), discard_on=(ConnectionError,)), ConnectionError(), False),
    ],
)
def test_retries(policy: RetryPolicy, error: Exception, *, answer: bool) -> None:
    assert policy.retries(error) is answer
