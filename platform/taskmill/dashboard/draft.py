"""What somebody typed into the form of a kind: as args, or with what is wrong at each field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from taskmill import args_schema, reasons
from taskmill.dashboard.schema_form import ROOT, Field, Form
from taskmill.strict_json import NotJsonError, decode
from taskmill.words import Words

WORDS_MAX = 3  # 一个字段下面至多说几句


class Draft:
    """The fields as they were typed, the args that they make, and the refusals by the name of the field."""

    def __init__(self, root: Field, typed: Mapping[str, list[str]]) -> None:
        self.root = root
        self.typed = {name: values[0] for name, values in typed.items()}
        self.refused: dict[str, list[Words]] = {}
        self._fields = {field.name: field for field in root.each()}
        made = self._value(root)
        self._unread = frozenset(self.refused)
        self.args: Any = {} if made is UNSET else made

    def refuse(self, path: args_schema.Path, reason: Words) -> None:
        """Say it at the field of this path, or at the nearest one around it."""
        parts = [str(part).replace("~", "~0").replace("/", "~1") for part in path]
        name = next(found for n in range(len(parts), -1, -1) if (found := "/".join([ROOT, *parts[:n]])) in self._fields)
        rest = path[len(name.split("/")) - 1 :]
        if name in self._unread:
            return  # 读不出来的已经说过了，Schema 只会说它没有填
        if len(rest) == 1 and isinstance(rest[0], int) and self._fields[name].form is Form.LIST:
            reason = reasons.ITEM(n=rest[0] + 1, reason=reason)
        elif rest:
            reason = reasons.AT_FIELD(field=args_schema.where(rest), reason=reason)
        self.say(name, reason)

    def say(self, name: str, reason: Words) -> None:
        """Add one refusal of a field."""
        told = self.refused.setdefault(name, [])
        if reason not in told and len(told) < WORDS_MAX:
            told.append(reason)

    def check(self, refusals: Iterable[tuple[args_schema.Path, Words]]) -> None:
        """Add what the schema refuses."""
        for path, reason in refusals:
            self.refuse(path, reason)

    def _value(self, field: Field) -> Any:
        if field.form is Form.GROUP:
            return self._group(field)
        text = self.typed.get(field.name, "").replace("\r\n", "\n")
        if not text.strip():
            return _absent(field)
        if field.form is Form.LIST and field.item is not None:
            return self._list(field, field.item, text)
        try:
            return _read(field, text)
        except _UnreadError as error:
            self.say(field.name, error.words)
            return UNSET

    def _group(self, field: Field) -> Any:
        found = {each.label: self._value(each) for each in field.fields}
        made = {name: value for name, value in found.items() if value is not UNSET}
        typed = any(self.typed.get(each.name, "").strip() for each in field.each())
        return made if typed or (field.required and not field.nullable) else _absent(field)

    def _list(self, field: Field, item: Field, text: str) -> Any:
        made: list[Any] = []
        for number, line in enumerate(filter(str.strip, text.split("\n")), 1):
            try:
                made.append(_read(item, line))
            except _UnreadError as error:
                self.say(field.name, reasons.ITEM(n=number, reason=error.words))
        return made


class _UnreadError(ValueError):
    def __init__(self, words: Words) -> None:
        super().__init__(words.en)
        self.words = words


def _absent(field: Field) -> Any:
    """空着就是没有给。必填的：许 null 的是 null，列表是没有一项的列表，其余由 Schema 说须填写。"""
    if not field.required:
        return UNSET
    if field.nullable:
        return None
    return [] if field.form is Form.LIST else UNSET


def _read(field: Field, text: str) -> Any:
    match field.form:
        case Form.NUMBER:
            return _number(text.strip())
        case Form.BOOLEAN | Form.CHOICE:
            return _choice(field, text.strip())
        case Form.JSON:
            try:
                return decode(text)
            except NotJsonError as error:
                raise _UnreadError(error.words) from error
        case _:
            return text


def _number(text: str) -> Any:
    try:
        found = decode(text)
    except NotJsonError:
        found = None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise _UnreadError(reasons.NOT_A_NUMBER)
    return found


def _choice(field: Field, text: str) -> Any:
    """选项是 JSON；一行一个的列表里，字串不必加引号。"""
    choices = field.choices or ("true", "false")
    for written in (text, json.dumps(text, ensure_ascii=False)):
        if written in choices:
            return decode(written)
    raise _UnreadError(reasons.NOT_A_CHOICE)
