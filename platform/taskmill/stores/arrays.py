"""Arrays for unnest."""

from __future__ import annotations

from typing import Any


def sparse(values: list[Any], default: Any) -> list[Any]:
    """Return `values`, or an empty array if all are `default`.

    unnest pads shorter arrays with NULL, and the driver checks every element of an array it encodes: columns that a
    batch does not use cost nothing this way. The statement says what NULL means.
    """
    return [] if values.count(default) == len(values) else values
