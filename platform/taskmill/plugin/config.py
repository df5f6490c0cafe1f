"""Configuration of a plugin: a msgspec Struct filled from `TASKMILL_PLUGIN_<NAME>_<FIELD>`."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, SetupError, UnfitError
from taskmill.text.validation import in_both
from taskmill.words import Words

_LISTS = (list, tuple, set, frozenset)


class Secret:
    """A text that never shows itself: `str`, `repr` and JSON give a mask, `reveal()` the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return c.SECRET_MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def env_prefix(plugin: str) -> str:
    """Return the prefix of the variables of `plugin`, for example `TASKMILL_PLUGIN_HTTP_`."""
    return f"TASKMILL_PLUGIN_{plugin.replace('-', '_').replace('.', '_').upper()}_"


def load_config(plugin: str, config: type[Any] | None, env: Mapping[str, str], others: Collection[str] = ()) -> Any:
    """Return an instance of the Struct type `config`, or None if the plugin has none.

    Numbers and booleans are read leniently, lists are comma-separated or JSON, mappings and Structs are JSON.
    Variables that belong to one of `others`, plugins with a longer name, are left alone. SetupError CONFIG_INVALID
    names the variable that is unknown, missing or wrong; it never shows a Secret.
    """
    prefix = env_prefix(plugin)
    fields = {} if config is None else {field.name.upper(): field for field in msgspec.structs.fields(config)}
    values: dict[str, Any] = {}
    for variable, text in _own(prefix, env, others).items():
        field = fields.get(variable.removeprefix(prefix))
        if field is None:
            raise SetupError(Code.CONFIG_INVALID, field=variable, reason=_unknown(prefix, variable, list(fields)))
        values[field.name] = _value(variable, text, field.type)
    if config is None:
        return None
    for field in fields.values():
        if field.required and field.name not in values:
            raise SetupError(Code.CONFIG_INVALID, field=prefix + field.name.upper(), reason=reasons.REQUIRED)
    try:
        return config(**values)  # 检查跨字段规则的 __post_init__ 在这里运行
    except (ValueError, TypeError) as error:
        raise SetupError(Code.CONFIG_INVALID, field=prefix + "*", reason=_why(error)) from error


def masked(config: Any) -> dict[str, Any]:
    """Return the configuration as JSON-ready values with every Secret masked; `{}` for None."""
    return {} if config is None else msgspec.to_builtins(config, enc_hook=_shown, str_keys=True)


def _own(prefix: str, env: Mapping[str, str], others: Collection[str]) -> dict[str, str]:
    longer = tuple(p for p in map(env_prefix, others) if p != prefix and p.startswith(prefix))
    return {name: text for name, text in env.items() if name.startswith(prefix) and not (longer and name.startswith(longer))}


def _unknown(prefix: str, variable: str, known: list[str]) -> Words:
    close = difflib.get_close_matches(variable.removeprefix(prefix), known, n=1)
    if close:
        return reasons.NO_OPTION_LIKE(close=prefix + close[0])
    return reasons.NO_OPTION(names=", ".join(known) or "-")


def _value(variable: str, text: str, annotation: Any) -> Any:
    try:
        return msgspec.convert(_raw(text, annotation), annotation, strict=False, dec_hook=_decode)
    except ValueError as error:  # msgspec 的校验与解析错误都属于 ValueError；机密是原样转换的，不会出现在文字里
        raise SetupError(Code.CONFIG_INVALID, field=variable, reason=_why(error)) from error


def _why(error: Exception) -> Words:
    return error.words if isinstance(error, UnfitError) else in_both(str(error))


def _raw(text: str, annotation: Any) -> Any:
    """列表按逗号拆开（或写成 JSON），映射与 Struct 必须是 JSON，其余原样。"""
    kinds = _origins(annotation)
    if kinds.intersection(_LISTS) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kinds.intersection(_LISTS) or dict in kinds or any(issubclass(kind, msgspec.Struct) for kind in kinds):
        return msgspec.json.decode(text)
    return text


def _origins(annotation: Any) -> set[type]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _origins(typing.get_args(annotation)[0])
    if origin in {typing.Union, types.UnionType}:
        return set[type]().union(*(_origins(part) for part in typing.get_args(annotation)))
    found = origin or annotation
    return {found} if isinstance(found, type) else set()


def _decode(annotation: type[Any], value: Any) -> Any:
    if annotation in {Secret, Path} and isinstance(value, str):
        return annotation(value)
    raise UnfitError(reasons.NO_SUCH_TYPE(name=annotation.__name__))


def _shown(value: Any) -> Any:
    return c.SECRET_MASK if isinstance(value, Secret) else str(value)
