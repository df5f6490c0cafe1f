"""How the JSON object of args becomes the parameters of a handler, and which schemas describe args and result."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import pydantic
from pydantic_core import to_jsonable_python

from taskmill import reasons
from taskmill.errors import UnfitError
from taskmill.plugin.context import TaskContext
from taskmill.text.validation import in_both
from taskmill.words import Words

_UNREADABLE = (msgspec.DecodeError, pydantic.ValidationError, RecursionError)


@dataclass(frozen=True)
class CallPlan:
    """How the JSON object of args maps to parameters: one model, or one field per parameter.

    `model` is the type that the args are decoded to; `single` is the parameter that takes the whole model, or None
    when each field is a parameter; `context` names the TaskContext parameter; `dependencies` says that taskiq has
    to resolve some parameters; `coroutine` says that calling the handler only makes a coroutine.
    """

    model: type[Any]
    single: str | None
    context: str | None
    dependencies: bool
    result: Any
    coroutine: bool

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CallPlan:
        """Inspect `function`; UnfitError, a TypeError, says why it cannot be a handler."""
        coroutine = _coroutine(function)
        hints = _hints(function)
        context, dependencies, fields = None, False, list[inspect.Parameter]()
        for parameter in inspect.signature(function).parameters.values():
            annotation = hints.get(parameter.name, inspect.Parameter.empty)
            if annotation is TaskContext:
                context = parameter.name
            elif _is_dependency(parameter, annotation):
                dependencies = True
            else:
                _check(parameter, annotation)
                fields.append(parameter)
        result = hints.get("return", Any)
        if len(fields) == 1 and _is_model(hints[fields[0].name]):
            return cls(hints[fields[0].name], fields[0].name, context, dependencies, result, coroutine)
        return cls(_struct(function, fields, hints), None, context, dependencies, result, coroutine)

    @cached_property
    def decode(self) -> Callable[[bytes], Any]:
        """Return a function from JSON bytes to the model; it raises msgspec.ValidationError or pydantic's."""
        if issubclass(self.model, pydantic.BaseModel):
            return self.model.model_validate_json
        return msgspec.json.Decoder(self.model).decode

    def read(self, raw: bytes) -> Any:
        """Return the model of stored args; UnfitError if they can never become one."""
        try:
            return self.decode(raw)
        except _UNREADABLE as error:
            unfit = UnfitError(_misfit(error))
            if b"." not in raw and b"e" not in raw:
                raise unfit from error
        try:  # JSON Schema 把 1.0 当整数，解码器也要当
            return self.decode(msgspec.json.encode(_whole(msgspec.json.decode(raw))))
        except _UNREADABLE as error:
            raise unfit from error

    def parameters(self, model: Any) -> dict[str, Any]:
        """Return keyword arguments for the handler."""
        if self.single is not None:
            return {self.single: model}
        return {name: getattr(model, name) for name in self.model.__struct_fields__}

    def asked(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object of a call without context and dependencies; TypeError if `function` takes no such call."""
        names = set(self.model.__struct_fields__) if self.single is None else {self.single}
        whole = inspect.signature(function)
        wanted = whole.replace(parameters=[each for each in whole.parameters.values() if each.name in names])
        bound = wanted.bind(*args, **kwargs).arguments
        return msgspec.to_builtins(bound if self.single is None else bound[self.single], enc_hook=_plain)

    @cached_property
    def read_result(self) -> Callable[[bytes], Any]:
        """Return a function from the JSON bytes of a result to what the handler says it returns; errors of msgspec and pydantic.

        A type that neither can read stays JSON.
        """
        try:
            return msgspec.json.Decoder(self.result, dec_hook=_made).decode
        except TypeError:  # 例如几个自定义类型的 Union：msgspec 分不清，pydantic 分得清
            pass
        try:
            adapter = pydantic.TypeAdapter(self.result)
        except Exception:  # noqa: BLE001 - 返回值的注解可以是任何东西；与 result_schema 一样，读不懂就给 JSON
            return msgspec.json.decode
        return lambda raw: adapter.validate_json(raw, by_alias=True, by_name=True)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the args; UnfitError if they have none."""
        try:
            if issubclass(self.model, pydantic.BaseModel):
                return self.model.model_json_schema()
            return msgspec.json.schema(self.model)
        except Exception as error:  # 生成样式会运行用户的代码（如 __get_pydantic_json_schema__）
            raise UnfitError(reasons.NO_SCHEMA(error=first_line(error))) from error

    def result_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of the result, or None if the handler declares no type that can be described."""
        if self.result is Any:
            return None
        if not (isinstance(self.result, type) and issubclass(self.result, pydantic.BaseModel)):
            try:
                return msgspec.json.schema(self.result)
            except Exception:  # noqa: BLE001, S110 - msgspec 不认识的，pydantic 也许认识
                pass
        try:
            return pydantic.TypeAdapter(self.result).json_schema(mode="serialization", by_alias=False)
        except Exception:  # noqa: BLE001 - 返回值的注解只供人看：描述不了就不描述，处理函数照常能用
            return None


def _plain(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    return to_jsonable_python(value)


def _made(wanted: type[Any], value: Any) -> Any:
    return pydantic.TypeAdapter(wanted).validate_python(value, by_alias=True, by_name=True)


def _misfit(error: Exception) -> Words:
    """作者在 `__post_init__` 里用两种语言说了，就照他说的；否则译 msgspec 的话。"""
    return error.__cause__.words if isinstance(error.__cause__, UnfitError) else in_both(str(error))


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, its type if it says nothing."""
    return str(error).split("\n", 1)[0] or type(error).__name__


def _coroutine(function: Callable[..., Any]) -> bool:
    """是不是协程函数；不能做处理函数的，说明原因。"""
    if not callable(function):
        raise UnfitError(reasons.NOT_CALLABLE(value=repr(function)))
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner) and not isinstance(inner, type) and not hasattr(inner, "cache_info"):
        inner = type(inner).__call__
    wrapped = inspect.unwrap(inner)
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in (inner, wrapped)):
        raise UnfitError(reasons.GENERATOR)
    if hasattr(inner, "cache_info") and inspect.iscoroutinefunction(wrapped):
        raise UnfitError(reasons.CACHED_COROUTINE)
    return inspect.iscoroutinefunction(inner)


def as_function(function: Callable[..., Any], name: str, plan: CallPlan) -> Callable[..., Any]:
    """Return `function` itself, or a function that calls it: taskiq takes no objects, methods, partials, and looks for the module."""
    if inspect.isfunction(function) and function.__module__ in sys.modules:
        return function

    async def later(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    def now(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    made: Any = later if plan.coroutine else now
    made.__name__ = made.__qualname__ = name
    made.__doc__ = inspect.getdoc(function)
    made.__annotations__ = _hints(function)
    made.__signature__ = inspect.signature(function)
    return made


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    source: Any = function
    while isinstance(source, functools.partial):
        source = source.func
    if not isinstance(source, (types.FunctionType, types.MethodType, type)) and not hasattr(source, "__wrapped__"):
        source = getattr(type(source), "__call__", source)  # noqa: B004 - 可调用对象的注解在它的 __call__ 上
    try:
        return typing.get_type_hints(source, include_extras=True)
    except Exception as error:  # 注解是用户的代码，解析它可能抛出任何东西
        raise UnfitError(reasons.NO_HINTS(error=first_line(error))) from error


def _check(parameter: inspect.Parameter, annotation: Any) -> None:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
        raise UnfitError(reasons.VARIADIC)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise UnfitError(reasons.POSITIONAL(name=parameter.name))
    if annotation is parameter.empty:
        raise UnfitError(reasons.NOT_ANNOTATED(name=parameter.name))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        issubclass(annotation, (msgspec.Struct, pydantic.BaseModel)) or dataclasses.is_dataclass(annotation)
    )


def _is_dependency(parameter: inspect.Parameter, annotation: Any) -> bool:
    """Taskiq 依赖：默认值或 Annotated 元数据里有 Dependency。"""
    marks = (parameter.default, *getattr(annotation, "__metadata__", ()))
    return any(type(mark).__name__ == "Dependency" for mark in marks)


def _struct(function: Callable[..., Any], fields: list[inspect.Parameter], hints: dict[str, Any]) -> type[Any]:
    entries = [(p.name, hints[p.name]) if p.default is p.empty else (p.name, hints[p.name], p.default) for p in fields]
    name = getattr(function, "__name__", type(function).__name__)
    try:
        return msgspec.defstruct(f"{name}_args", entries, kw_only=True, forbid_unknown_fields=True)
    except (TypeError, ValueError) as error:  # 例如可变的默认值
        raise UnfitError(reasons.NO_SCHEMA(error=first_line(error))) from error


def _whole(value: Any) -> Any:
    """把值为整数的小数写成整数；需要小数的字段照样收整数。"""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _whole(child) for key, child in value.items()}
    return [_whole(child) for child in value] if isinstance(value, list) else value
