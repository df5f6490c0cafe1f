"""A kind's JSON Schema as fields of a form: what has a plain field gets one, all else a box for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from taskmill import args_schema

ROOT: Final = "args"  # 字段的名字：JSON Pointer，从这里算起
DEPTH_MAX: Final = 4  # 再深的对象写 JSON：自己套自己的类型也到此为止
FIELDS_MAX: Final = 200  # 一张表至多多少个字段，其余写 JSON
CHOICES_MAX: Final = 200  # 更长的枚举没有人会去翻
LINE_MAX_CHARS: Final = 200  # 至多这么长的字串写一行
_HOPS_MAX: Final = 8  # 跟着引用走几步
_COMPLEX: Final = frozenset({"anyOf", "oneOf", "allOf", "not", "if", "$ref", "patternProperties", "prefixItems"})


class Form(StrEnum):
    """How a value is asked for."""

    LINE = "line"
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    LIST = "list"
    GROUP = "group"
    JSON = "json"


_SCALARS: Final = {"integer": Form.NUMBER, "number": Form.NUMBER, "boolean": Form.BOOLEAN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value of the args. `choices` are JSON texts, `item` is what a list has in each line, `fields` are those of a group."""

    path: tuple[str, ...]
    form: Form
    type: str
    required: bool = True
    nullable: bool = False
    default: str | None = None
    description: str = ""
    choices: tuple[str, ...] = ()
    item: Field | None = None
    fields: tuple[Field, ...] = ()

    @property
    def name(self) -> str:
        """Return its name in the form: `args/user/name`."""
        return "/".join([ROOT, *(part.replace("~", "~0").replace("/", "~1") for part in self.path)])

    @property
    def id(self) -> str:
        """Return its name as the id of an element: without spaces, whatever the args are called."""
        return quote(self.name, safe="").replace("%", ".")

    @property
    def label(self) -> str:
        """Return its name in the args, empty for all of them."""
        return self.path[-1] if self.path else ""

    def each(self) -> Iterator[Field]:
        """Return it, and all below it."""
        yield self
        for field in self.fields:
            yield from field.each()


def whole() -> Field:
    """Return one box for all args as JSON."""
    return Field(path=(), form=Form.JSON, type="object")


def fields_of(schema: Any) -> Field:
    """Return the form of a schema: a group, or `whole` if it does not say which args there are."""
    made = _Builder(schema).field(schema, (), required=True)
    return made if made.form is Form.GROUP else whole()


class _Builder:
    def __init__(self, root: Any) -> None:
        self._defs = root.get("$defs", {}) if isinstance(root, dict) else {}
        self._left = FIELDS_MAX

    def field(self, schema: Any, path: tuple[str, ...], *, required: bool) -> Field:
        self._left -= 1
        meaning, nullable = self._meaning(schema)
        form = self._form(meaning, len(path))
        return Field(
            path=path,
            form=form,
            type=args_schema.short(schema),
            required=required,
            nullable=nullable,
            default=_shown(meaning["default"]) if "default" in meaning else None,
            description=str(meaning.get("description", "")) if path else "",
            choices=_choices(meaning) if form is Form.CHOICE else (),
            item=self.field(meaning["items"], (*path, ""), required=True) if form is Form.LIST else None,
            fields=self._fields(meaning, path) if form is Form.GROUP else (),
        )

    def _fields(self, schema: dict[str, Any], path: tuple[str, ...]) -> tuple[Field, ...]:
        # jsonb 不记对象里的次序，数组的记得：必填的照写下的次序排在前面
        needed, given = list(schema.get("required", ())), schema["properties"]
        names = [name for name in needed if name in given] + [name for name in given if name not in needed]
        return tuple(self.field(given[name], (*path, name), required=name in needed) for name in names)

    def _meaning(self, schema: Any) -> tuple[dict[str, Any], bool]:
        """引用指着什么；「或者 null」之外是什么。旁边写的说明与默认值优先。"""
        nullable = False
        for _ in range(_HOPS_MAX):
            if not isinstance(schema, dict):
                return {}, nullable
            if "$ref" in schema:
                beside = {name: value for name, value in schema.items() if name != "$ref"}
                schema = {**self._defs.get(str(schema["$ref"]).removeprefix("#/$defs/"), {"not": {}}), **beside}
            elif (inner := _besides_null(schema)) is not None:
                schema, nullable = inner, True
            else:
                break
        return schema, nullable

    def _form(self, schema: dict[str, Any], depth: int) -> Form:
        if _COMPLEX & set(schema) or self._left < 0:
            return Form.JSON
        if "enum" in schema or "const" in schema:
            return Form.CHOICE if len(_choices(schema)) <= CHOICES_MAX else Form.JSON
        kind = str(schema.get("type"))
        if kind == "array":
            return Form.LIST if self._is_plain(schema.get("items")) else Form.JSON
        if kind == "object":
            return Form.GROUP if _is_record(schema) and depth < DEPTH_MAX else Form.JSON
        return _of_text(schema) if kind == "string" else _SCALARS.get(kind, Form.JSON)

    def _is_plain(self, items: Any) -> bool:
        meaning, nullable = self._meaning(items)
        return not nullable and self._form(meaning, 0) not in {Form.JSON, Form.LIST, Form.GROUP}


def _besides_null(schema: dict[str, Any]) -> dict[str, Any] | None:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        rest = [kind for kind in kinds if kind != "null"]
        return {**schema, "type": rest[0]} if len(rest) == 1 else None
    for word in ("anyOf", "oneOf"):
        ways = schema.get(word)
        if isinstance(ways, list) and {"type": "null"} in ways:
            rest = [way for way in ways if way != {"type": "null"}]
            beside = {name: value for name, value in schema.items() if name != word}
            return {**rest[0], **beside} if len(rest) == 1 and isinstance(rest[0], dict) else None
    return None


def _of_text(schema: dict[str, Any]) -> Form:
    short = schema.get("maxLength", LINE_MAX_CHARS + 1) <= LINE_MAX_CHARS
    return Form.LINE if short or "format" in schema or "pattern" in schema else Form.TEXT


def _is_record(schema: dict[str, Any]) -> bool:
    """字段都说了名字的对象；还许有别的字段的，写 JSON 才写得全。"""
    return bool(schema.get("properties")) and not isinstance(schema.get("additionalProperties"), dict)


def _choices(schema: dict[str, Any]) -> tuple[str, ...]:
    given = schema["enum"] if "enum" in schema else [schema["const"]]
    return tuple(map(_shown, given))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
