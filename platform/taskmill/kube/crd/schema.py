"""Building blocks of a CRD's OpenAPI schema. Every text and list has a bound, else its CEL rules cost too much."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]

NAME_MAX = 253  # DNS 子域名，Kubernetes 对象名的上限
LABEL_MAX = 63  # DNS 标签与标签值的上限
TEXT_MAX = 1024
OBJECT_NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
KEY_NAME = r"^[-._a-zA-Z0-9]+$"
QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
PERCENT_OR_COUNT = r"^((100|[0-9]{1,2})%|[0-9]{1,4})$"


def string(
    about: str, *, limit: int = NAME_MAX, pattern: str | None = None, default: str | None = None, least: int = 0
) -> Schema:
    """Return a text of at most `limit` characters."""
    made: Schema = {"type": "string", "description": about, "maxLength": limit}
    if least:
        made["minLength"] = least
    if pattern is not None:
        made["pattern"] = pattern
    return made | _default(default)


def choice(about: str, *values: str, default: str | None = None) -> Schema:
    """Return a text that is one of `values`."""
    return {"type": "string", "description": about, "enum": list(values), **_default(default)}


def integer(about: str, low: int, high: int, *, default: int | None = None) -> Schema:
    """Return a whole number from `low` to `high`."""
    return {"type": "integer", "format": "int32", "description": about, "minimum": low, "maximum": high, **_default(default)}


def boolean(about: str, *, default: bool | None = None) -> Schema:
    """Return true or false."""
    return {"type": "boolean", "description": about, **_default(default)}


def count_or_percent(about: str, *, default: str | int) -> Schema:
    """Return a number of pods, or a percentage as a text."""
    return {
        "x-kubernetes-int-or-string": True, "description": about, "minimum": 0, "maximum": 5000, "maxLength": 5,
        "pattern": PERCENT_OR_COUNT, "default": default,
    }  # fmt: skip


def record(
    about: str, fields: Mapping[str, Schema], *, required: Iterable[str] = (), rules: Iterable[Schema] = ()
) -> Schema:
    """Return an object with these fields. Its default is that of its fields: CEL rules must never meet an empty one."""
    made: Schema = {"type": "object", "description": about, "properties": dict(fields)}
    if needed := sorted(required):
        made["required"] = needed
    if checks := list(rules):
        made["x-kubernetes-validations"] = checks
    defaults = {name: copy.deepcopy(field["default"]) for name, field in fields.items() if "default" in field}
    return made | ({"default": defaults} if defaults and not needed else {})


def reference(about: str, *, key: str | None = None) -> Schema:
    """Return the name of an object in the same namespace; `key` is the default of the key in it, None: no key."""
    fields = {"name": string("Name of the Secret, in the namespace of this object.", pattern=OBJECT_NAME, least=1)}
    if key is not None:
        fields["key"] = string("Key in the Secret whose value is used.", pattern=KEY_NAME, default=key, least=1)
    return record(about, fields, required=["name"])


def mapping(about: str, value: Schema, *, limit: int) -> Schema:
    """Return an object with any keys, at most `limit`."""
    return {"type": "object", "description": about, "additionalProperties": value, "maxProperties": limit}


def opaque(about: str) -> Schema:
    """Return an object whose fields are checked later, by whoever uses them."""
    return {"type": "object", "description": about, "x-kubernetes-preserve-unknown-fields": True}


def keyed(about: str, item: Schema, *, key: str, limit: int) -> Schema:
    """Return a list that is merged by one field of its items."""
    made = {"type": "array", "description": about, "maxItems": limit, "x-kubernetes-list-type": "map"}
    return made | {"x-kubernetes-list-map-keys": [key], "items": item}


def atomic(about: str, item: Schema, *, limit: int) -> Schema:
    """Return a list that is replaced as a whole."""
    return {"type": "array", "description": about, "maxItems": limit, "x-kubernetes-list-type": "atomic", "items": item}


def rule(
    expression: str, message: str, *, path: str | None = None, reason: str = "FieldValueInvalid", old: bool = False
) -> Schema:
    """Return a CEL rule. `path` is the field to blame; `old`: `oldSelf` is optional and the rule also runs on creation."""
    made: Schema = {"rule": expression, "message": message, "reason": reason}
    if path is not None:
        made["fieldPath"] = path
    return made | ({"optionalOldSelf": True} if old else {})


def immutable(field: Schema, message: str) -> Schema:
    """Return the field with the rule that its value never changes."""
    rules = [*field.get("x-kubernetes-validations", ()), rule("self == oldSelf", message, reason="FieldValueForbidden")]
    return field | {"x-kubernetes-validations": rules}


def conditions(about: str) -> Schema:
    """Return the list of standard Kubernetes conditions."""
    item = record(
        "One condition, as in metav1.Condition.",
        {
            "type": string("Which condition.", limit=316),
            "status": choice("Whether it holds.", "True", "False", "Unknown"),
            "observedGeneration": generation("The generation that this condition is about."),
            "lastTransitionTime": time("When the status last changed."),
            "reason": string("Stable machine-readable reason.", limit=TEXT_MAX, least=1),
            "message": string("What happened and what to do, for people.", limit=32768),
        },
        required=["type", "status", "lastTransitionTime", "reason", "message"],
    )
    return keyed(about, item, key="type", limit=16)


def generation(about: str) -> Schema:
    """Return a metadata.generation."""
    return {"type": "integer", "format": "int64", "description": about, "minimum": 0}


def time(about: str) -> Schema:
    """Return a point in time, RFC 3339."""
    return {"type": "string", "format": "date-time", "description": about}


def _default(value: str | int | None) -> Schema:
    return {} if value is None else {"default": value}
