"""One meaning of a kind's JSON Schema, where plugins register it and where submits are checked.

What the schema accepts, the worker's decoder accepts too: the formats that msgspec and pydantic decode are asserted as
these decode them. Formats that no decoder reads (`email`, `uri` …) stay annotations. Patterns are ECMA 262, as the standard
says and clients read them; the decoders' own engines read the shorthands for spaces, digits and words otherwise beyond ASCII, so
that the worker may discard args with ARGS_INVALID there.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

import jsonschema_rs
import msgspec

from taskmill import reasons
from taskmill.text.similar import did_you_mean
from taskmill.words import Facts, Words


def _decodes(kind: type[Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            msgspec.convert(text, kind)
        except msgspec.ValidationError:
            return False
        return True

    return check


def _address(kind: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            kind(text)
        except ValueError:
            return False
        return True

    return check


def _anything(_: str) -> bool:
    return True


_FORMATS: dict[str, Callable[[str], bool]] = {
    "uuid": _decodes(UUID),
    "date": _decodes(dt.date),
    "time": _decodes(dt.time),
    "date-time": _decodes(dt.datetime),
    "duration": _decodes(dt.timedelta),
    "decimal": _decodes(Decimal),
    "ipv4": _address(ipaddress.IPv4Address),
    "ipv6": _address(ipaddress.IPv6Address),
    **dict.fromkeys(
        (
            "email",
            "idn-email",
            "hostname",
            "idn-hostname",
            "uri",
            "uri-reference",
            "iri",
            "iri-reference",
            "uri-template",
            "json-pointer",
            "relative-json-pointer",
            "regex",
        ),
        _anything,
    ),
}


_BASE64 = _decodes(bytes)


class _Encoding:
    """关键字 contentEncoding：base64 的文字必须解得开，worker 的解码器也会这样要求。"""

    def __init__(self, _parent: Any, value: Any, _path: Any) -> None:
        self._base64 = value == "base64"

    def validate(self, instance: Any) -> None:
        """Raise ValueError unless a text decodes."""
        if self._base64 and isinstance(instance, str) and not _BASE64(instance):
            message = "not base64"
            raise ValueError(message)


_KEYWORDS: dict[str, Any] = {"contentEncoding": _Encoding}


def compiled(schema: Any) -> jsonschema_rs.Validator:
    """Return the validator of a schema; ValueError if it is not one, for example a pattern that ECMA 262 does not know."""
    return jsonschema_rs.validator_for(schema, formats=_FORMATS, validate_formats=True, keywords=_KEYWORDS)


def names(schema: Any) -> frozenset[str]:
    """Return the names of the args that a schema describes; a reference at its top is followed, as msgspec makes them."""
    return frozenset(_top(schema).get("properties", ()))


def fields(schema: Any) -> list[dict[str, Any]]:
    """Return the args that a schema describes, each with `name`, `type` in short, `required`, `default` as JSON and `description`."""
    top = _top(schema)
    return [
        {
            "name": name,
            "type": short(field),
            "required": name in top.get("required", ()),
            "default": json.dumps(field["default"], ensure_ascii=False) if "default" in field else None,
            "description": field.get("description"),
        }
        for name, field in top.get("properties", {}).items()
    ]


def _top(schema: Any) -> dict[str, Any]:
    found = schema
    for _ in range(2):
        reference = found.get("$ref", "") if isinstance(found, dict) else ""
        if not reference.startswith("#/$defs/"):
            break
        found = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return found if isinstance(found, dict) else {}


def short(field: Any) -> str:
    """Return a type that fits into a cell: `string[]`, `integer | null`, `"GET" | "POST"`."""
    if not isinstance(field, dict):
        return "any"
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "enum" in field:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in field["enum"])
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(map(short, field["anyOf"])))
    kind = field.get("type", "any")
    if isinstance(kind, list):
        return " | ".join(map(str, kind))
    return f"{short(field['items'])}[]" if kind == "array" and "items" in field else str(kind)


# 校验器只会英文：中文另写；英文照它的原话，只有多出来的字段与「几种都不是」说得更清楚
_CHINESE: dict[str, str] = {
    "required": "缺少 {property}",
    "type": "须是 {types}",
    "enum": "须是其中之一：{options}",
    "minimum": "不得小于 {limit}",
    "maximum": "不得大于 {limit}",
    "exclusiveMinimum": "须大于 {limit}",
    "exclusiveMaximum": "须小于 {limit}",
    "minLength": "不得短于 {limit} 个字符",
    "maxLength": "不得长于 {limit} 个字符",
    "minItems": "不得少于 {limit} 项",
    "maxItems": "不得多于 {limit} 项",
    "pattern": "不合样式 {pattern}",
    "format": "不是 {format}",
    "contentEncoding": "不是 {content_encoding}",
    "const": "须是 {expected_value}",
    "multipleOf": "须是 {multiple_of} 的倍数",
    "uniqueItems": "不得有重复的项",
    "minProperties": "不得少于 {limit} 个字段",
    "maxProperties": "不得多于 {limit} 个字段",
    "contains": "没有一项合乎要求",
    "falseSchema": "这里不得有值",
    "unevaluatedProperties": "没有字段 {unexpected}",
    "unevaluatedItems": "多出来的项：{unexpected}",
}
_ALTERNATIVES_MAX = 5  # 「几种都不是」里说明几种
REFUSALS_MAX = 50  # 一次说明几处：再多也没有人读
Path = tuple[str | int, ...]


def refusals(validator: jsonschema_rs.Validator, args: Any, known: Iterable[str]) -> list[tuple[Path, Words]]:
    """Return what is wrong with args, each with its path, at most REFUSALS_MAX; what is missing has the path where it should be."""
    known = list(known)
    found = [each for error in validator.iter_errors(args) for each in _inside(error)]
    return [_placed(error, known) for error in found[:REFUSALS_MAX]]


def _inside(error: jsonschema_rs.ValidationError) -> list[jsonschema_rs.ValidationError]:
    """几种之中只有一种是这个类型的（多半是「或者 null」）：说它里面哪里不对。"""
    if error.kind.name not in {"anyOf", "oneOf"}:
        return [error]
    ways: list[list[jsonschema_rs.ValidationError]] = error.kind.as_dict()["context"]
    near = [way for way in ways if not any(_other_type(each, error) for each in way)]
    return [found for each in near[0] for found in _inside(each)] if len(near) == 1 and near[0] else [error]


def _other_type(error: jsonschema_rs.ValidationError, outer: jsonschema_rs.ValidationError) -> bool:
    return error.kind.name == "type" and list(error.instance_path) == list(outer.instance_path)


def _placed(error: jsonschema_rs.ValidationError, known: list[str]) -> tuple[Path, Words]:
    path = tuple(error.instance_path)
    if error.kind.name == "required":
        return (*path, str(error.kind.as_dict()["property"])), reasons.NEEDED
    return path, told(error, known)


def told(error: jsonschema_rs.ValidationError, known: Iterable[str]) -> Words:
    """Return what is wrong, in both languages; `known` are the names of the args, for those that are written wrong at the top."""
    facts = {name: _listed(value) for name, value in error.kind.as_dict().items()}
    if error.kind.name == "additionalProperties":
        fields = sorted(known) if not error.instance_path else []
        hint = did_you_mean(str(error.kind.as_dict()["unexpected"][0]), fields)
        rest = reasons.FIELDS(hint=hint, names=", ".join(fields)) if fields else ""
        return reasons.NO_FIELD(names=facts["unexpected"], rest=rest)
    if error.kind.name in {"anyOf", "oneOf"} and (each := _alternatives(error, known)):
        return reasons.NO_ALTERNATIVE(
            each=Words(zh="；".join(words.zh for words in each), en="; ".join(words.en for words in each))
        )
    chinese = _CHINESE.get(error.kind.name, "不合 {keyword} 的要求")
    return Words(zh=chinese.format_map(Facts({**facts, "keyword": error.kind.name}, "zh")), en=error.message)


def _alternatives(error: jsonschema_rs.ValidationError, known: Iterable[str]) -> list[Words]:
    """每一种为何不是；有不止一种是的（oneOf），就没有什么可说。"""
    found: list[list[jsonschema_rs.ValidationError]] = error.kind.as_dict()["context"]
    if not all(found):
        return []
    made: list[Words] = []
    for first, *_ in found[:_ALTERNATIVES_MAX]:
        path, words = where(first.instance_path[len(error.instance_path) :]), told(first, known)
        made.append(Words(zh=f"{path} {words.zh}", en=f"{path} {words.en}") if path else words)
    return made


def where(path: Iterable[str | int]) -> str:
    """Return a path into a value as it is written in messages: `.user.emails[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _listed(value: Any) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)
