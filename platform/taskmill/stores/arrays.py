"""Arrays for unnest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

Fence = tuple[UUID, int]  # 任务与第几次领取：谁拿着旧的号，就什么也改不了


def sparse(values: list[Any], default: Any) -> list[Any]:
    """Return `values`, or an empty array if all are `default`.

    unnest pads shorter arrays with NULL, and the driver checks every element of an array it encodes: columns that a
    batch does not use cost nothing this way. The statement says what NULL means.
    """
    return [] if values.count(default) == len(values) else values


def uniform(values: list[Any]) -> list[Any]:
    """Return `values`, or the one value if all are the same and none is None; the statement takes the first for NULL."""
    return values[:1] if values.count(values[0]) == len(values) else values


def fence_arrays(fences: Sequence[Fence]) -> tuple[list[UUID], list[int]]:
    """Return ids and claim numbers, sorted: whoever locks several rows locks them in this order."""
    ordered = sorted(fences)
    return [task_id for task_id, _ in ordered], [claim_no for _, claim_no in ordered]
