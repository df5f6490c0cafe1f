"""The filter language: `state:running queue:mail created:>2h` becomes the filter of the list of tasks.

One parser for whoever takes such a text; a word that cannot be read is refused with its position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, InputError
from taskmill.ids import as_id
from taskmill.services.tasks.service import STATES, TaskFilter
from taskmill.states import State
from taskmill.text.similar import did_you_mean
from taskmill.words import Words

FIELD: Final = "q"
UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
TIMES: Final = ("created", "started", "finished")
_LENGTH = re.compile(r"([0-9]{1,6})([smhdw])")
_WORD = re.compile(r'\S*?"[^"]*"\S*|\S+')


@dataclass(frozen=True, slots=True)
class Asked:
    """What a text asks for: a filter, or one task by its id."""

    filter: TaskFilter
    task_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Word:
    at: int
    text: str

    def refuse(self, reason: Words) -> InputError:
        told = reasons.AT_PLACE(at=self.at + 1, word=self.text, reason=reason)
        return InputError(Code.INVALID_REQUEST, field=FIELD, reason=told)


def parse(text: str, now: datetime, **given: Any) -> Asked:
    """Return what `text` asks for at `now`; `given` are further fields of the filter. InputError INVALID_REQUEST."""
    found: dict[str, Any] = {}
    for word in _words(text):
        if (alone := as_id(word.text)) is not None:
            return Asked(TaskFilter(**given), alone)
        key, value = _split(word)
        if key == "id":
            if (task_id := as_id(value)) is None:
                raise word.refuse(reasons.NOT_A_UUID)
            return Asked(TaskFilter(**given), task_id)
        for name, read in _READERS[key](word, value, now).items():
            if name in found:
                raise word.refuse(reasons.GIVEN_TWICE)
            found[name] = read
    return Asked(TaskFilter(**found, **given))


def _words(text: str) -> Iterator[_Word]:
    for match in _WORD.finditer(text):
        word = _Word(match.start(), match[0])
        if match[0].count('"') % 2:
            raise word.refuse(reasons.QUOTE_OPEN)
        yield word


def _split(word: _Word) -> tuple[str, str]:
    key, colon, value = word.text.partition(":")
    if not colon:
        raise word.refuse(reasons.BARE_WORD)
    if key.removeprefix("-") != key and key[1:] in KEYS:
        raise word.refuse(reasons.NOT_NEGATED)
    if key not in KEYS:
        raise word.refuse(reasons.NO_FILTER(hint=did_you_mean(key, KEYS), names=", ".join(KEYS)))
    value = value.replace('"', "")
    if not value:
        raise word.refuse(reasons.NO_VALUE)
    return key, value


def _state(word: _Word, value: str, _: datetime) -> dict[str, Any]:
    for each in value.split(","):
        if each not in STATES:
            raise word.refuse(reasons.NOT_A_STATE(hint=did_you_mean(each, list(State)), names=", ".join(State)))
    return {"state": value}


def _name(field: str) -> Callable[[_Word, str, datetime], dict[str, Any]]:
    def read(word: _Word, value: str, _: datetime) -> dict[str, Any]:
        if len(value) > c.NAME_MAX_CHARS or "\x00" in value:
            raise word.refuse(reasons.NO_SUCH_NAME(limit=c.NAME_MAX_CHARS))
        return {field: value}

    return read


def _schedule(word: _Word, value: str, _: datetime) -> dict[str, Any]:
    if (found := as_id(value)) is None:
        raise word.refuse(reasons.NOT_A_UUID)
    return {"schedule_id": found}


def _time(field: str) -> Callable[[_Word, str, datetime], dict[str, Any]]:
    after, before = f"{field}_after", f"{field}_before"

    def read(word: _Word, value: str, now: datetime) -> dict[str, Any]:
        first, dots, last = value.partition("..")
        if dots:
            return {after: _moment(word, first, now), before: _moment(word, last, now)}
        name = {">": after, "<": before}.get(value[0])
        if name is None:
            raise word.refuse(reasons.NOT_A_MOMENT)
        return {name: _moment(word, value[1:], now)}

    return read


def _moment(word: _Word, text: str, now: datetime) -> datetime:
    """一段时间之前，或一个时刻；没有时区的是 UTC。"""
    if (length := _LENGTH.fullmatch(text)) is not None:
        try:
            return now - timedelta(seconds=int(length[1]) * UNITS[length[2]])
        except OverflowError as error:
            raise word.refuse(reasons.NOT_A_MOMENT) from error
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise word.refuse(reasons.NOT_A_MOMENT) from error
    low, high = c.TIME_YEARS
    if not low <= found.year <= high:
        raise word.refuse(reasons.YEAR_WITHIN(low=low, high=high))
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


_READERS: Final[dict[str, Callable[[_Word, str, datetime], dict[str, Any]]]] = {
    "state": _state,
    "queue": _name("queue"),
    "kind": _name("kind"),
    "tag": _name("tag"),
    "schedule": _schedule,
    **{field: _time(field) for field in TIMES},
}
KEYS: Final = (*_READERS, "id")


def with_states(text: str, state: str) -> str:
    """Return the text with its states replaced by these, an empty `state` for none; the rest stays as it was written."""
    kept = [match[0] for match in _WORD.finditer(text) if not match[0].startswith("state:")]
    return " ".join([*([f"state:{state}"] if state else []), *kept])


def worded(given: Mapping[str, str]) -> str:
    """Return the text for parameters of the list of the API; those that the language has no word for are left out."""
    words = [(name.removesuffix("_id"), given.get(name)) for name in ("state", "queue", "kind", "tag", "schedule_id")]
    for field in TIMES:
        after, before = given.get(f"{field}_after"), given.get(f"{field}_before")
        if after and before:
            words.append((field, f"{after}..{before}"))
        else:
            words.append((field, f">{after}" if after else before and f"<{before}"))
    return " ".join(quoted(key, value) for key, value in words if value)


def quoted(key: str, value: str) -> str:
    """Return one word of the language."""
    return f'{key}:"{value}"' if any(char.isspace() for char in value) else f"{key}:{value}"
