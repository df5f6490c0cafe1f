"""Texts from outside (answers, output) made fit for a result, so that work that was done is never lost over them."""

from __future__ import annotations

import re
from bisect import bisect_right

import msgspec

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # jsonb 存不了 NUL，UTF-8 写不了孤立的代理项


def storable(text: str, max_bytes: int) -> tuple[str, bool]:
    """Return `text` as JSON can hold it, and whether it was cut.

    NUL and lone surrogates become U+FFFD. Cut where its encoded form, quotes and escapes counted, would be above
    `max_bytes` bytes.
    """
    short = text[: max(max_bytes, 0)]  # 每个字符至少一个字节：先截短，再做与长度成正比的事
    clean = _UNSTORABLE.sub("\ufffd", short)
    if _encoded_bytes(clean) > max_bytes:
        clean = clean[
            : max(bisect_right(range(len(clean)), max_bytes, key=lambda size: _encoded_bytes(clean[:size])) - 1, 0)
        ]
    return clean, len(clean) < len(text)


def _encoded_bytes(text: str) -> int:
    return len(msgspec.json.encode(text))
