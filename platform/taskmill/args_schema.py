"""One meaning of a kind's JSON Schema, where plugins register it and where submits are checked.

What the schema accepts, the worker's decoder accepts too: the formats that msgspec and pydantic decode are asserted as
these decode them. Formats that no decoder reads (`email`, `uri` …) stay annotations.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import jsonschema_rs
import msgspec


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
    found = schema
    for _ in range(2):
        reference = found.get("$ref", "") if isinstance(found, dict) else ""
        if not reference.startswith("#/$defs/"):
            break
        found = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return frozenset(found.get("properties", ())) if isinstance(found, dict) else frozenset()
