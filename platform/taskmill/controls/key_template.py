"""Keys that are made of a task's args by a template: what concurrency keys and fairness keys have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec

from taskmill import constants as c
from taskmill import reasons
from taskmill.controls.unique import bad_key
from taskmill.errors import Code, InputError
from taskmill.words import Words

_PLACE: Final = re.compile(r"\{([^{}]*)\}")


class KeyTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A text in which `{customer.id}` stands for an arg; `field` is the option of a submit that gives a key outright."""

    field: ClassVar[str]
    key: str

    def refusal(self) -> tuple[str, Words] | None:
        """Return the field that does not fit and why, None if all do."""
        if bad_key(self.key) is not None:
            return "key", reasons.TEXT_OF(limit=c.UNIQUE_KEY_MAX_CHARS)
        rest = _PLACE.sub("", self.key)
        if "{" in rest or "}" in rest or any(not path.strip() for path in self.paths()):
            return "key", reasons.NOT_A_TEMPLATE(value=repr(self.key))
        return None

    def paths(self) -> list[str]:
        """Return the args that the key names."""
        return _PLACE.findall(self.key)

    def of(self, args: Mapping[str, Any]) -> str:
        """Return the key of a task with these args; InputError INVALID_REQUEST if they have no such text, number or boolean."""

        def filled(match: re.Match[str]) -> str:
            value: Any = args
            for name in match[1].split("."):
                value = value.get(name) if isinstance(value, Mapping) else None
            if not isinstance(value, (str, int, float)):
                raise InputError(Code.INVALID_REQUEST, field=self.field, reason=reasons.NOT_IN_ARGS(name=match[1]))
            return msgspec.json.encode(value).decode() if not isinstance(value, str) else value

        key = _PLACE.sub(filled, self.key)
        if (reason := bad_key(key)) is not None:
            raise InputError(Code.INVALID_REQUEST, field=self.field, reason=reason)
        return key
