"""Unique tasks: by what a task is the same as another, and how long its key keeps others out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from taskmill import constants as c
from taskmill import reasons
from taskmill.bounds import Range
from taskmill.errors import Code, InputError
from taskmill.words import Words

While = Literal["live", "waiting"]
OnDuplicate = Literal["return", "replace", "refuse"]
PERIOD_S: Final = Range(0, 366 * 86_400.0, above=True)  # 键最多占一年：过期的要有人清
BY_MAX: Final = 20  # by 里至多几个参数
_ABSENT = object()
_UNFIT = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL 存不了的


class Unique(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"while_": "while"}):
    """A task that shall be there once only.

    The key is made of the kind and of the args that `by` names (`user.id` goes into objects; None: all args; empty: the
    kind alone), or it is `key`. It is held `while_` the task is `live` (until it is final) or `waiting` (until its first
    claim; a retry does not take it again), and for `period_s` seconds from the submit whatever becomes of the task. A
    duplicate gets the id of the task that is there (`return`), gives it its own args and time if that one still waits
    (`replace`), or is refused with UNIQUE_TAKEN (`refuse`).
    """

    by: Annotated[list[str], Meta(description="Args that make the key; default: all.")] | None = None
    key: (
        Annotated[
            str,
            Meta(
                description="A key of your own, the same for all kinds.",
                extra_json_schema={"minLength": 1, "maxLength": c.UNIQUE_KEY_MAX_CHARS},
            ),
        ]
        | None
    ) = None
    while_: Annotated[While, Meta(description="How long it holds its key: until it is final, or until its first claim.")] = (
        "live"
    )
    period_s: Annotated[float, PERIOD_S.meta("Held this long from the submit, in seconds.")] | None = None
    on_duplicate: Annotated[OnDuplicate, Meta(description="Answer the task that is there, change it, or refuse.")] = "return"

    def refusal(self) -> tuple[str, Words] | None:
        """Return the field that does not fit and why, None if all do."""
        if self.key is not None and self.by is not None:
            return "by", reasons.KEY_OR_BY
        if self.key is not None and (reason := bad_key(self.key)) is not None:
            return "key", reason
        if self.period_s is not None and (reason := PERIOD_S.refusal(self.period_s)) is not None:
            return "period_s", reason
        for name, word, words in (("while", self.while_, While), ("on_duplicate", self.on_duplicate, OnDuplicate)):
            if word not in words.__args__:  # 在 Python 里造的，没有人替它查过
                return name, reasons.NONE_OF(value=repr(word), names=", ".join(words.__args__))
        return self._bad_path()

    def _bad_path(self) -> tuple[str, Words] | None:
        paths = self.by or ()
        if len(paths) > BY_MAX:
            return "by", reasons.AT_MOST(limit=BY_MAX)
        for index, path in enumerate(paths):
            if (reason := bad_key(path)) is not None:
                return f"by[{index}]", reason
        return None

    def chosen(self, args: Mapping[str, Any], optional: Collection[str]) -> Any:
        """Return the args that make the key; those of `optional`, the names that the kind knows, may be left out.

        InputError INVALID_REQUEST names an entry of `by` that the args do not have.
        """
        if self.by is None:
            return args
        return [self._value(args, index, path, optional) for index, path in enumerate(self.by)]

    def _value(self, args: Mapping[str, Any], index: int, path: str, optional: Collection[str]) -> Any:
        first, *rest = path.split(".")
        value: Any = args.get(first, _ABSENT)
        if value is _ABSENT and first in optional:
            return None  # 没有给的可选参数，大家都一样
        for name in rest:
            value = value.get(name, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is _ABSENT:
            raise InputError(Code.INVALID_REQUEST, field=f"unique.by[{index}]", reason=reasons.NOT_IN_ARGS(name=path))
        return value


def bad_key(key: Any) -> Words | None:
    """Return why a text cannot be a key, None if it can: 1 to UNIQUE_KEY_MAX_CHARS characters that PostgreSQL can store."""
    fits = isinstance(key, str) and 0 < len(key) <= c.UNIQUE_KEY_MAX_CHARS
    if not fits or _UNFIT.search(key):
        return reasons.TEXT_OF(limit=c.UNIQUE_KEY_MAX_CHARS)
    return None
