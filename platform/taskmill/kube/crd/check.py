"""What a spec must fulfil beyond the types of its fields: the rules of each record, and the shape of what is kept raw."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from taskmill.kube.crd.schema import Record


class InvalidSpec(Exception):  # noqa: N818 - 与条件的 reason 同名
    """The spec cannot be carried out. The API server refuses such a spec, unless its CRD is of another version."""


def convert(value: Any, kind: Any, path: str) -> Any:
    """Return a plain value as `kind`; InvalidSpec with the place of what does not fit, below `path`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise InvalidSpec(f"{path}{place.rstrip('`')}: {reason}") from error


def check(record: Record, path: str) -> None:
    """Check a record and all below it; InvalidSpec names the field."""
    for rule in record.CHECKS:
        if rule.holds is not None and not rule.holds(record):
            raise InvalidSpec(f"{path}{rule.path}: {rule.message}")
    for name, wire in _fields(type(record)):
        value, place, shape = getattr(record, name), f"{path}.{wire}", record.SHAPES.get(name) or record.OPAQUE.get(name)
        if shape is not None:
            value = convert(value, list[shape] if isinstance(value, list) else shape, place)
        if isinstance(value, Record):
            check(value, place)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Record):
                    check(item, f"{place}[{index}]")


@functools.cache
def _fields(record: type[Record]) -> tuple[tuple[str, str], ...]:
    return tuple((known.name, known.encode_name) for known in msgspec.structs.fields(record))
