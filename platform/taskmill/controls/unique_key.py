"""The key of a unique task, for whoever has no database to make it: the same text as `stores.tasks.unique` makes in SQL.

There the args become jsonb and jsonb becomes text; `canonical` writes that text. A test compares both.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any, Final, cast

_KEY_HEX: Final = 32  # 散列取前多少个十六进制字符，与 SQL 里的一致


def key_of(kind: str, chosen: bytes) -> str:
    """Return the key that is made of a kind and of the JSON bytes of the chosen args."""
    return f"{kind}:{hashlib.sha256(canonical(chosen).encode()).hexdigest()[:_KEY_HEX]}"


def canonical(raw: bytes) -> str:
    """Return JSON as PostgreSQL writes a jsonb: keys by length and bytes, the last of equal ones, numbers written out."""
    return _text(json.loads(raw, parse_float=Decimal, parse_int=Decimal))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        pairs = sorted(cast("dict[str, Any]", value).items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
        return "{" + ", ".join(f"{_text(name)}: {_text(child)}" for name, child in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(child) for child in value) + "]"
    if isinstance(value, Decimal):
        return format(abs(value) if value.is_zero() else value, "f")
    return json.dumps(value, ensure_ascii=False)
