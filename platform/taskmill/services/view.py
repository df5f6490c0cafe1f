"""Rows as people see them: one way from a row of the database to the Struct that answers."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from taskmill.clock import rfc3339

V = TypeVar("V", bound=msgspec.Struct)
_DRESSED = {datetime, bytes}  # 一页列表有几百个值，多半不用换样子：先看类型，比逐个调用快一倍


def view(form: type[V], row: Any, **given: Any) -> V:
    """Build `form` from a row of the ORM, or a mapping: fields of the same name, times as text; `given` comes first.

    jsonb that came as bytes passes through untouched.
    """
    read = row.__getitem__ if hasattr(row, "keys") else partial(getattr, row)
    for name in form.__struct_fields__:
        if name not in given:
            value = read(name)
            given[name] = shown(value) if type(value) in _DRESSED else value
    return form(**given)


def shown(value: Any) -> Any:
    """Return a time as text and jsonb bytes as they are for the encoder; all else, None too, is shown as it is."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return msgspec.Raw(value) if isinstance(value, bytes) else value
