"""A kind of task: its name, policy and handler, and how its args are decoded."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import msgspec
import pydantic

from taskmill import constants as c
from taskmill.plugin.context import TaskContext

KIND_PATTERN = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(value: float | str | timedelta) -> float:
    """Return seconds from a number, a timedelta, or a text such as `90s`, `2m`, `1h`; ValueError otherwise."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value)
        if match is None:
            message = f"not a duration: {value!r}"
            raise ValueError(message)
        return float(match[1]) * _UNITS[match[2]]
    return float(value)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a failed attempt is repeated.

    The delay before attempt n + 1 is drawn from [0, min(`max_delay`, `base_delay` · 2^(n-1))] ("full jitter", AWS
    Architecture Blog, 2015). `retry_on` (empty: everything) and `discard_on` name exception types; the latter wins.
    """

    max_attempts: int = c.MAX_ATTEMPTS_DEFAULT
    base_delay: float = c.BACKOFF_BASE_S
    max_delay: float = c.BACKOFF_MAX_S
    retry_on: tuple[type[BaseException], ...] = ()
    discard_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name in ("retry_on", "discard_on"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # isinstance 只收元组
        if not 1 <= self.max_attempts <= c.MAX_ATTEMPTS_LIMIT:
            message = f"max_attempts must be within 1 and {c.MAX_ATTEMPTS_LIMIT}"
            raise ValueError(message)

    def retries(self, error: BaseException) -> bool:
        """Say whether an attempt that ended with `error` may be repeated."""
        if isinstance(error, self.discard_on):
            return False
        return not self.retry_on or isinstance(error, self.retry_on)


@dataclass(frozen=True, slots=True)
class OnOom:
    """What becomes of a task whose worker was killed for want of memory: it waits in `queue`, whose workers have more.

    It still counts as a crash, so a task that no worker can hold ends as discarded.
    """

    queue: str

    def __post_init__(self) -> None:
        if not 0 < len(self.queue) <= c.NAME_MAX_CHARS or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.queue) is None:
            message = f"not the name of a queue: {self.queue!r}"
            raise ValueError(message)


@dataclass(frozen=True)
class TaskDefinition:
    """One version of one kind. Calling it calls the handler, so that handlers stay plain functions in tests."""

    kind: str
    function: Callable[..., Any]
    version: int = 1
    queue: str = c.QUEUE_DEFAULT
    priority: int = c.PRIORITY_DEFAULT
    timeout_s: float = c.TIMEOUT_DEFAULT_S
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    executor: str = "async"
    summary: str = ""
    on_oom: OnOom | None = None
    taskiq: Any = None  # 原来的 taskiq 任务；为 None 时由引擎登记

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the handler."""
        return self.function(*args, **kwargs)

    @cached_property
    def call(self) -> CallPlan:
        """Return how args become parameters of the handler."""
        return CallPlan.of(self.function)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(function, include_extras=True)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        issubclass(annotation, (msgspec.Struct, pydantic.BaseModel)) or dataclasses.is_dataclass(annotation)
    )


def _is_dependency(parameter: inspect.Parameter, annotation: Any) -> bool:
    """Taskiq 依赖：默认值或 Annotated 元数据里有 Dependency。"""
    marks = (parameter.default, *getattr(annotation, "__metadata__", ()))
    return any(type(mark).__name__ == "Dependency" for mark in marks)


@dataclass(frozen=True)
class CallPlan:
    """How the JSON object of args maps to parameters: one model, or one field per parameter.

    `model` is the type that the args are decoded to; `single` is the parameter that takes the whole model, or None
    when each field is a parameter; `context` names the TaskContext parameter; `dependencies` says that taskiq has
    to resolve some parameters.
    """

    model: type[Any]
    single: str | None
    context: str | None
    dependencies: bool
    result: Any

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CallPlan:
        """Inspect `function`; TypeError if a parameter has no annotation."""
        hints = _hints(function)
        context, dependencies, fields = None, False, list[inspect.Parameter]()
        for parameter in inspect.signature(function).parameters.values():
            annotation = hints.get(parameter.name, Any)
            if annotation is TaskContext:
                context = parameter.name
            elif _is_dependency(parameter, annotation):
                dependencies = True
            elif parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                message = f"{function.__qualname__}: *args and **kwargs cannot be described by a schema"
                raise TypeError(message)
            else:
                fields.append(parameter)
        result = hints.get("return", Any)
        if len(fields) == 1 and _is_model(hints.get(fields[0].name)):
            return cls(hints[fields[0].name], fields[0].name, context, dependencies, result)
        return cls(_struct(function, fields, hints), None, context, dependencies, result)

    @cached_property
    def decode(self) -> Callable[[bytes], Any]:
        """Return a function from JSON bytes to the model; it raises msgspec.ValidationError or pydantic's."""
        if issubclass(self.model, pydantic.BaseModel):
            return self.model.model_validate_json
        return msgspec.json.Decoder(self.model).decode

    def parameters(self, model: Any) -> dict[str, Any]:
        """Return keyword arguments for the handler."""
        if self.single is not None:
            return {self.single: model}
        return {name: getattr(model, name) for name in self.model.__struct_fields__}

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the args."""
        if issubclass(self.model, pydantic.BaseModel):
            return self.model.model_json_schema()
        return msgspec.json.schema(self.model)

    def result_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of the result, or None if the handler does not declare a type."""
        if self.result is Any:
            return None
        if isinstance(self.result, type) and issubclass(self.result, pydantic.BaseModel):
            return self.result.model_json_schema()
        return msgspec.json.schema(self.result)


def _struct(function: Callable[..., Any], fields: list[inspect.Parameter], hints: dict[str, Any]) -> type[Any]:
    entries = [
        (p.name, hints.get(p.name, Any)) if p.default is p.empty else (p.name, hints.get(p.name, Any), p.default)
        for p in fields
    ]
    return msgspec.defstruct(f"{function.__name__}_args", entries, kw_only=True, forbid_unknown_fields=True)


def task(
    kind: str,
    *,
    version: int = 1,
    queue: str = c.QUEUE_DEFAULT,
    priority: int = c.PRIORITY_DEFAULT,
    timeout: float | str | timedelta = c.TIMEOUT_DEFAULT_S,
    retry: RetryPolicy | None = None,
    executor: str | None = None,
    on_oom: OnOom | None = None,
) -> Callable[[Callable[..., Any]], TaskDefinition]:
    """Turn a function into a kind of task; its first docstring line becomes the summary.

    `kind` is `<area>.<verb>`; `timeout` seconds, timedelta or text such as `2m`; `executor` defaults to `async` for
    coroutine functions and `thread` for others; `on_oom` says where to go after a death for want of memory. ValueError or TypeError if something does not fit.
    """
    if KIND_PATTERN.fullmatch(kind) is None or len(kind) > c.NAME_MAX_CHARS:
        message = f"kind must look like area.verb: {kind!r}"
        raise ValueError(message)
    if priority not in c.PRIORITIES or version < 1:
        message = f"priority must be one of {c.PRIORITIES} and version at least 1"
        raise ValueError(message)

    def decorate(function: Callable[..., Any]) -> TaskDefinition:
        definition = TaskDefinition(
            kind=kind, function=function, version=version, queue=queue, priority=priority,
            timeout_s=_timeout(timeout), retry=retry or RetryPolicy(),
            executor=executor or ("async" if inspect.iscoroutinefunction(function) else "thread"),
            summary=(inspect.getdoc(function) or "").split("\n", 1)[0], on_oom=on_oom,
        )
        definition.call.schema()  # 注册时就报错，而不是等到第一个任务
        return definition

    return decorate


def _timeout(value: float | str | timedelta) -> float:
    timeout = seconds(value)
    if not 0 < timeout <= c.TIMEOUT_MAX_S:
        message = f"timeout must be above 0 and at most {c.TIMEOUT_MAX_S:g} s"
        raise ValueError(message)
    return timeout
