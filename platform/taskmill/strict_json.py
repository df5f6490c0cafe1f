"""The one definition of JSON here: RFC 8259 in UTF-8. What it cannot hold is refused, never altered.

NaN and Infinity (also as `1e400`), lone surrogates and bytes that are not UTF-8 are no JSON. Of a name that an object has
twice, the last value counts. Whole numbers have any size, others are IEEE 754 doubles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from taskmill import reasons
from taskmill.words import Words

Hook = Callable[[Any], Any]


class NotJsonError(ValueError):
    """A value or text that JSON cannot hold; `words` says why in both languages."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.en)
        self.words = words


class Encoder:
    """Encodes values as msgspec does, but refuses what msgspec would turn into null. Made once, used often."""

    def __init__(self, enc_hook: Hook | None = None) -> None:
        self._hook = enc_hook
        self._encoder = msgspec.json.Encoder(enc_hook=enc_hook)

    def encode(self, value: Any) -> bytes:
        """Return JSON bytes; NotJsonError, or whatever a hook raises."""
        try:
            raw = self._encoder.encode(value)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise NotJsonError(reasons.NOT_JSON(error=str(error) or type(error).__name__)) from error
        # msgspec 把 NaN 与无穷写成 null：没有 null 就不必查
        if b"null" in raw and _endless(msgspec.to_builtins(value, enc_hook=self._hook)):
            raise NotJsonError(reasons.NOT_FINITE)
        return raw


def decode(text: str | bytes) -> Any:
    """Return the value of a JSON text; NotJsonError says what is wrong and where."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJsonError(reasons.NOT_JSON(error=str(error) or type(error).__name__)) from error


def _endless(value: Any) -> bool:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return True
        elif isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, (list, tuple, set, frozenset)):
            todo += item
    return False
