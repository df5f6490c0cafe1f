"""From typed records to the OpenAPI schema of a CRD: bounds, defaults and words stand once, at the field.

A field says its words and bounds with one of the functions below; a record's words are its docstring. Every text and
list has a bound, else its CEL rules cost too much.
"""

from __future__ import annotations

import inspect as python
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, inspect

Schema = dict[str, Any]
Object = dict[str, Any]

NAME_MAX: Final = 253  # DNS 子域名，Kubernetes 对象名的上限
LABEL_MAX: Final = 63  # DNS 标签与标签值的上限
TEXT_MAX: Final = 1024
COUNT_MAX: Final = 2**31 - 1
OBJECT_NAME: Final = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
KEEP: Final = "x-kubernetes-preserve-unknown-fields"
RULES: Final = "x-kubernetes-validations"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
END = r"\Z"  # Python 的 $ 放过末尾的换行，API 服务器的不放


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over several fields: in CEL for the API server, and as a function of the record for us.

    `path` is the field to blame. `old`: `oldSelf` is optional and the rule also runs on creation. `holds` None: it is
    about a change, which only the API server sees.
    """

    cel: str
    message: str
    path: str = ""
    reason: str = "FieldValueInvalid"
    old: bool = False
    holds: Callable[[Any], bool] | None = None

    def schema(self) -> Schema:
        """Return the rule as the CRD writes it."""
        made: Schema = {"rule": self.cel, "message": self.message, "reason": self.reason}
        made |= {"fieldPath": self.path} if self.path else {}
        return made | ({"optionalOldSelf": True} if self.old else {})


Checks = tuple[Rule, ...]


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a spec. Fields of a newer CRD are ignored.

    SHAPES: fields that are kept as the user wrote them, and the record that each, or each of its items, must fit.
    OPAQUE: the same, for fields that the published schema leaves open.
    """

    CHECKS: ClassVar[Checks] = ()
    SHAPES: ClassVar[Mapping[str, type[msgspec.Struct]]] = {}
    OPAQUE: ClassVar[Mapping[str, type[msgspec.Struct]]] = {}
    OPEN: ClassVar[bool] = False  # 没有列出的字段也留着


def about(words: str, **more: Any) -> Meta:
    """Return what a field means, and more keys of its schema."""
    return Meta(description=words, extra_json_schema=more)


def text(words: str, *, limit: int = NAME_MAX, least: int | None = None, pattern: str = "", never: str = "") -> Meta:
    """Describe a text of at most `limit` characters; `never`: it never changes, and this is said to who tries."""
    return Meta(
        description=words, min_length=least, max_length=limit, pattern=pattern.removesuffix("$") + END if pattern else None,
        extra_json_schema=_immutable(never),
    )  # fmt: skip


def object_name(words: str, **more: Any) -> Meta:
    """Describe the name of a Kubernetes object."""
    return text(words, least=1, pattern=OBJECT_NAME, **more)


def whole(words: str, low: int, high: int) -> Meta:
    """Describe a whole number from `low` to `high`."""
    return Meta(description=words, ge=low, le=high)


def count(words: str) -> Meta:
    """Describe a number of things."""
    return whole(words, 0, COUNT_MAX)


def generation(words: str) -> Meta:
    """Describe a metadata.generation; -1: none yet."""
    return Meta(description=words, ge=-1, extra_json_schema={"format": "int64"})


def time(words: str) -> Meta:
    """Describe a point in time, RFC 3339."""
    return about(words, format="date-time")


def opaque(words: str) -> Meta:
    """Describe an object whose fields are checked later, by whoever uses them."""
    return about(words, **{KEEP: True})


def mapping(words: str, limit: int) -> Meta:
    """Describe an object with any keys, at most `limit`."""
    return Meta(description=words, max_length=limit)


def keyed(words: str, key: str, limit: int) -> Meta:
    """Describe a list that is merged by one field of its items."""
    kind = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return Meta(description=words, max_length=limit, extra_json_schema=kind)


def atomic(words: str, limit: int) -> Meta:
    """Describe a list that is replaced as a whole."""
    return Meta(description=words, max_length=limit, extra_json_schema={"x-kubernetes-list-type": "atomic"})


def immutable(words: str, never: str) -> Meta:
    """Describe an object that never changes; `never` is said to who tries."""
    return Meta(description=words or None, extra_json_schema=_immutable(never))


def schema_of(record: type[msgspec.Struct]) -> Schema:
    """Return the schema of a record. Its default is that of its fields: CEL rules must never meet an empty one."""
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - 只对记录调用
    shapes: Mapping[str, type[msgspec.Struct]] = getattr(record, "SHAPES", {})
    hints = typing.get_type_hints(record, include_extras=True)
    made: Schema = {"type": "object", "description": " ".join(python.cleandoc(record.__doc__ or "").split())}
    fields = made["properties"] = {
        each.encode_name: _field(each, hints[each.name], shapes.get(each.name)) for each in info.fields
    }
    if needed := sorted(each.encode_name for each in info.fields if each.required):
        made["required"] = needed
    if checks := [check.schema() for check in getattr(record, "CHECKS", ())]:
        made[RULES] = checks
    if getattr(record, "OPEN", False):
        made[KEEP] = True
    defaults = {key: field["default"] for key, field in fields.items() if "default" in field}
    return made | ({"default": defaults} if defaults and not needed else {})


def _field(field: inspect.Field, hint: Any, shape: type[msgspec.Struct] | None) -> Schema:
    made = _schema(field.type, hint)
    if shape is not None:
        inner = schema_of(shape)
        made = {**made, "items": inner} if made["type"] == "array" else {**inner, "description": made["description"]}
    if isinstance(field.default, str | int):
        made["default"] = field.default
    return made


def _schema(kind: inspect.Type, hint: Any = None) -> Schema:
    match kind:
        case inspect.Metadata():
            made = {**_schema(kind.type, hint), **(kind.extra_json_schema or {})}
        case inspect.UnionType():
            parts = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
            made = _schema(parts[0], hint) if len(parts) == 1 else _scalars(parts)
        case inspect.StructType():
            made = schema_of(kind.cls)
        case inspect.ListType():
            made = {"type": "array", **_given(maxItems=kind.max_length), "items": _schema(kind.item_type)}
        case inspect.DictType():
            made = {"type": "object", **_given(maxProperties=kind.max_length)}
            if not isinstance(kind.value_type, inspect.AnyType):
                made["additionalProperties"] = _schema(kind.value_type)
        case _:
            made = _scalar(kind, hint)
    return made


def _scalar(kind: inspect.Type, hint: Any) -> Schema:
    match kind:
        case inspect.LiteralType():
            return {"type": "string", "enum": _literal(hint)}
        case inspect.StrType():
            pattern = kind.pattern.replace(END, "$") if kind.pattern else None
            return {"type": "string", **_given(minLength=kind.min_length, maxLength=kind.max_length, pattern=pattern)}
        case inspect.IntType():
            return {"type": "integer", "format": "int32", **_given(minimum=kind.ge, maximum=kind.le)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case _:
            raise TypeError(kind)


def _scalars(parts: list[inspect.Type]) -> Schema:
    """数字或文字：CRD 里没有 anyOf，界限写在一处，各管各的。"""
    bounds: Schema = {}
    for each in parts:
        bounds |= {} if isinstance(each, inspect.FloatType) else _schema(each)
    return {key: value for key, value in bounds.items() if key not in {"type", "format"}}


def _literal(hint: Any) -> list[str]:
    """按写下的顺序；msgspec 给的是排过序的。"""
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    return next((found for each in typing.get_args(hint) if (found := _literal(each))), [])


def _given(**bounds: int | str | None) -> Schema:
    return {key: value for key, value in bounds.items() if value is not None}


def _immutable(never: str) -> dict[str, Any]:
    return {RULES: [Rule("self == oldSelf", never, reason="FieldValueForbidden").schema()]} if never else {}
