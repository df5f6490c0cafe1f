"""Everything that a plugin says is checked while it comes up: a bad one fails alone, with the kind's name and words."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from taskiq import InMemoryBroker

from taskmill.controls.unique import Unique
from taskmill.errors import KindError, PluginError
from taskmill.plugin.call_plan import CallPlan
from taskmill.plugin.definition import OnOom, RetryPolicy, TaskDefinition, task
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginInfo, PluginState
from taskmill.settings import Settings
from tests.unit.plugin.plugins import manifest, plugin, serving


class Thumb(pydantic.BaseModel):
    width: int


def load(plugins: dict[str, object]) -> PluginHost:
    return PluginHost.load(Settings(plugins_allow=list(plugins)), plugins, env={})


def found(host: PluginHost) -> list[PluginInfo]:
    return [info for info in host.plugins() if info.state is not PluginState.DISABLED]


def registering(name: str, *calls: Callable[[Any], object]) -> object:
    def taskmill_register(registry: Any) -> None:
        for call in calls:
            call(registry)

    return plugin(name, taskmill_register)


async def models() -> list[Thumb]: ...  # type: ignore[empty-body]
async def maybe() -> Thumb | None: ...
async def path() -> Path: ...  # type: ignore[empty-body]
async def anything() -> object: ...
async def iterator() -> Iterator[int]: ...  # type: ignore[empty-body]
async def url() -> pydantic.HttpUrl: ...  # type: ignore[empty-body]
async def a_type() -> type: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "described"),
    [(models, "array"), (maybe, "anyOf"), (path, "path"), (anything, ""), (iterator, None), (url, "uri"), (a_type, None)],
)
def test_every_return_annotation_loads_and_is_described_if_it_can_be(function: Any, described: str | None) -> None:
    host = load({"calc": registering("calc", lambda registry: registry.add(task("calc.any")(function)))})
    assert found(host)[0].state is PluginState.LOADED
    schema = CallPlan.of(function).result_schema()
    assert (schema is None) == (described is None)
    assert (described or "") in str(schema)


async def unannotated(a) -> None: ...
async def positional(a: int, /) -> None: ...
async def generating() -> AsyncIterator[int]:
    yield 1


def plain_generator() -> Iterator[int]:
    yield 1


@functools.lru_cache
async def cached(a: int) -> int:
    return a


async def no_regex(a: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]+\Z")]) -> None: ...
async def strange_args(a: type) -> None: ...
async def nul_default(a: str = "\x00") -> None: ...
async def unresolved(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037
async def fine(a: int = 0) -> None: ...
def plain(a: int = 0) -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (unannotated, {}, "parameter a has no annotation"), (positional, {}, "positional only"), (generating, {}, "generator"),
        (plain_generator, {}, "generator"), (functools.partial(plain_generator), {}, "generator"), (cached, {}, "lru_cache"),
        (no_regex, {}, "ECMA 262"), (strange_args, {}, "no JSON Schema"), (nul_default, {}, "cannot be stored"),
        (unresolved, {}, "Nowhere"), (fine, {"queue": "a b"}, "queue"), (fine, {"version": 2**31}, "version"),
        (fine, {"priority": 9}, "priority"), (fine, {"priority": 2.0}, "priority"), (fine, {"timeout": "soon"}, "duration"),
        (fine, {"timeout": float("nan")}, "timeout"), (plain, {"executor": "async"}, "executor async"), (5, {}, "cannot be called"),
    ],
)  # fmt: skip
def test_a_handler_that_cannot_work_is_refused_where_it_is_made(function: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(KindError, match=r"calc\.bad") as caught:
        task("calc.bad", **options)(function)
    assert words in caught.value.words.en
    assert caught.value.words.zh


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RetryPolicy(base_delay=float("nan")), "base_delay"),
        (lambda: RetryPolicy(max_delay=-1), "max_delay"),
        (lambda: RetryPolicy(max_delay=float("inf")), "max_delay"),
        (lambda: RetryPolicy(max_attempts=2.5), "max_attempts"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(discard_on=("ValueError",)), "discard_on"),
        (lambda: OnOom("a b"), "queue"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(discard_on=(ValueError("x"),)), "discard_on"),  # type: ignore[arg-type]
    ],
)
def test_a_policy_that_cannot_work_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def _by_hand(**changes: Any) -> Callable[[Any], object]:
    return lambda registry: registry.add(TaskDefinition(**{"kind": "calc.bad", "function": fine, **changes}))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda registry: registry.add(task("calc.bad", executor="gpu")(fine)), "calc.bad: there is no executor gpu"),
        (lambda registry: registry.add(task("calc.bad")(unannotated)), "calc.bad: parameter a"),
        (_by_hand(summary="\x00"), "calc.bad: summary"), (_by_hand(queue="a b"), "calc.bad: not the name of a queue"),
        (_by_hand(function=unannotated), "calc.bad: parameter a"), (lambda registry: registry.add(fine), "neither a @task"),
        (lambda registry: registry.add(InMemoryBroker().register_task(fine, task_name="calc.bad", priority="x")), "calc.bad"),
        (lambda registry: registry.add(InMemoryBroker().register_task(unannotated, task_name="calc.bad")), "calc.bad: parameter a"),
        (lambda registry: registry.schedule("s", "calc.double", {"value": 1}, cron="often"), "schedule s: cron"),
        (lambda registry: registry.schedule("s", "calc.double", {"value": 1}, every="often"), "schedule s: not a duration"),
        (lambda registry: registry.schedule("s", "calc.double", {"value": 1}, every="5m", timezone="Mars"), "schedule s: timezone"),
        (lambda registry: registry.schedule("s s", "calc.double", {"value": 1}, every="5m"), "schedule s s: name"),
        (lambda registry: registry.schedule("s", "calc.double", {"value": "x"}, every="5m"), "schedule s: args.value"),
        (lambda registry: registry.schedule("s", "calc.double", {"value": float("nan")}, every="5m"), "schedule s: args"),
    ],
)  # fmt: skip
def test_a_plugin_with_something_that_cannot_work_fails_alone(call: Callable[[Any], object], words: str) -> None:
    host = load({"calc": serving("calc", "calc.double"), "sick": registering("sick", call)})
    calc, sick = found(host)
    assert calc.state is PluginState.LOADED
    assert sick.state is PluginState.FAILED
    assert sick.error is not None
    assert words in sick.error.en
    assert sick.error.code == "PLUGIN_FAILED"
    assert list(host.registry.owners) == ["calc.double"]


@pytest.mark.parametrize(
    "changes", [{"name": "a b"}, {"version": "\x00"}, {"title_zh": 5}, {"capabilities": frozenset({"magic"})}]
)
def test_a_manifest_that_cannot_be_stored_fails_the_plugin(changes: dict[str, Any]) -> None:
    class Sick:
        @staticmethod
        def taskmill_manifest() -> Any:
            return manifest(**{"name": "sick", **changes})

    assert found(load({"sick": Sick()}))[0].state is PluginState.FAILED


def test_an_executor_of_its_own_may_be_registered_after_the_kind() -> None:
    host = load(
        {
            "calc": registering(
                "calc",
                lambda registry: registry.add(task("calc.any", executor="own")(fine)),
                lambda registry: registry.executor("own", object),
            )
        }
    )
    assert found(host)[0].state is PluginState.LOADED


def test_a_schedule_may_name_a_kind_of_a_plugin_that_loads_later() -> None:
    early = registering("a", lambda registry: registry.schedule("s", "calc.double", {"value": 1}, every="5m"))
    host = load({"a": early, "calc": serving("calc", "calc.double")})
    assert [info.error for info in found(host)] == [None, None]


def test_a_schedule_of_a_kind_that_is_not_here_is_told_and_stops_nothing() -> None:
    early = registering("a", lambda registry: registry.schedule("s", "calc.duble", {"value": 1}, every="5m"))
    host = load({"a": early, "calc": serving("calc", "calc.double")})
    told = found(host)[0]
    assert told.state is PluginState.LOADED
    assert host.failures() == {}
    assert told.error is not None
    assert "calc.duble" in told.error.en
    assert "did you mean calc.double" in told.error.en


class Caller:
    async def __call__(self, a: int) -> int:
        return a + 1


def undecorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


async def increment(a: int, by: int = 1) -> int:
    return a + by


@pytest.mark.parametrize(
    ("function", "executor"),
    [
        (functools.partial(increment, by=1), "async"),
        (Caller(), "async"),
        (Caller().__call__, "async"),
        (undecorated(increment), "thread"),
    ],
)
def test_every_callable_that_makes_a_coroutine_is_a_handler(function: Any, executor: str) -> None:
    definition: Any = task("calc.any")(function)
    assert definition.executor == executor
    assert asyncio.run(_await(definition(a=1))) == 2
    InMemoryBroker().register_task(definition.function, task_name="calc.any")


async def _await(value: Any) -> Any:
    return await value


def test_a_second_owner_of_an_executor_is_refused() -> None:
    host = PluginHost()
    host.registry.executor("own", object)  # type: ignore[arg-type]
    with pytest.raises(PluginError):
        host.registry.executor("own", object)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("unique", "words"),
    [
        (Unique(by=["url", "colour"]), "the args have no colour"),
        (Unique(by=["url"], key="k"), "unique.by give key or by"),
        (Unique(period_s=-1), "unique.period_s"),
        (Unique(by=[""]), "unique.by[0]"),
    ],
    ids=str,
)
def test_a_kind_whose_uniqueness_cannot_work_is_refused_where_it_is_made(unique: Unique, words: str) -> None:
    with pytest.raises(KindError, match=re.escape(words)):

        @task("calc.bad", unique=unique)
        async def bad(url: str) -> None: ...
