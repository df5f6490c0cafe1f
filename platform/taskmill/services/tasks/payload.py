"""Checks of JSON that comes from outside: size, depth, characters that PostgreSQL cannot store."""

from __future__ import annotations

from typing import Any

from taskmill import reasons
from taskmill.errors import Code, InputError
from taskmill.strict_json import Encoder, NotJsonError

_ENCODER = Encoder()


def encode(value: Any, *, field: str, max_bytes: int, max_depth: int) -> bytes:
    """Return `value` as JSON bytes; InputError ARGS_INVALID, ARGS_TOO_LARGE or ARGS_TOO_DEEP names `field`."""
    try:
        raw = _ENCODER.encode(value)
    except NotJsonError as error:
        raise InputError(Code.ARGS_INVALID, field=field, reason=error.words) from error
    if len(raw) > max_bytes:
        raise InputError(Code.ARGS_TOO_LARGE, field=field, size=len(raw), limit=max_bytes)
    # 一层至少两个字节，括号总数不超过上限时深度也不会超过：绝大多数请求免去遍历
    if len(raw) > 2 * max_depth and raw.count(b"{") + raw.count(b"[") > max_depth and _deeper(value, max_depth):
        raise InputError(Code.ARGS_TOO_DEEP, field=field, limit=max_depth)
    if b"\\u0000" in raw and (path := _nul(value, field)) is not None:
        raise InputError(Code.ARGS_INVALID, field=path, reason=reasons.HAS_NUL)
    return raw


def _deeper(value: Any, limit: int) -> bool:
    """空的容器也算一层：数的是容器，不是其中的值。"""
    layer = [value] if isinstance(value, (dict, list, tuple)) else []
    for _ in range(limit):
        layer = [
            child
            for item in layer
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list, tuple))
        ]
        if not layer:
            return False
    return True


def _nul(value: Any, path: str) -> str | None:
    if isinstance(value, str):
        return path if "\x00" in value else None
    if isinstance(value, dict):
        for key, child in value.items():
            if "\x00" in str(key):
                return path
            if (found := _nul(child, f"{path}.{key}")) is not None:
                return found
    if isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            if (found := _nul(child, f"{path}[{index}]")) is not None:
                return found
    return None
