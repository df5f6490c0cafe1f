"""Templates to HTML: everything is escaped, and what tasks carry is made harmless before that."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from taskmill.controls.queue_settings import SETTINGS, Form
from taskmill.controls.rate import Rate
from taskmill.dashboard import constants as dc
from taskmill.dashboard import phrases
from taskmill.dashboard.assets import Assets
from taskmill.services.task_query import quoted
from taskmill.text.printable import json_safe, printable
from taskmill.words import Words

TEMPLATES = Path(str(files("taskmill.dashboard") / "templates"))
_LINES = "\n\t"
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s"))


class Speaker:
    """The phrases in one language: `t("tasks")`, and `t.of(words)` for words that come from elsewhere."""

    def __init__(self, lang: str) -> None:
        self.lang = lang

    def __call__(self, key: str, **facts: Any) -> str:
        """Return a phrase with its facts; KeyError if there is none."""
        return self.of(phrases.PHRASES[key](**facts))

    def of(self, words: Words | str) -> str:
        """Return the text in this language."""
        return words if isinstance(words, str) else getattr(words, self.lang)

    def both(self, told: Mapping[str, Any], name: str = "message") -> str:
        """Return `name_zh` of a mapping for readers of Chinese where there is one, else `name`."""
        chinese = told.get(f"{name}_zh") if self.lang == "zh" else None
        return str(chinese or told.get(name) or "")

    def state(self, state: str) -> str:
        """Return the word for the state of a task, of a worker or of a plugin."""
        return self.of(phrases.STATES.get(state, state))


def environment(assets: Assets) -> Environment:
    """Return the environment of all templates; a name that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"plain": plain, "when": when, "span": span, "json": shown_json, "short": short, "count": count}
    helpers: dict[str, Any] = {"asset": assets.address, "t_words": in_words, "limit": limit, "quoted": quoted}
    made.globals.update(helpers)
    return made


def in_words(told: Mapping[str, str]) -> Words:
    """Return the message of an error as words, made harmless: it may name what somebody typed."""
    return Words(zh=plain(told["zh"]), en=plain(told["en"]))


def limit(value: Any, name: str) -> str:
    """Return a setting of a queue as people read it."""
    if isinstance(value, Rate):
        return f"{value.limit}/{value.period_s:g} s"
    return span(value) if SETTINGS[name].form is Form.DURATION else count(value)


def plain(text: Any, limit: int = dc.TEXT_SHOWN_MAX) -> str:
    """Return what somebody else wrote, at most `limit` characters: nothing in it steers a terminal or the direction of writing."""
    shown = printable(str(text), _LINES)
    return shown if len(shown) <= limit else shown[:limit] + "…"


def short(text: Any, limit: int = 120) -> str:
    """Return the beginning of a text on one line."""
    return plain(" ".join(str(text).split()), limit)


def when(moment: str | None) -> Markup | str:
    """Return a moment for the page's script, which says how long ago it is; without a script it is the time in UTC."""
    if moment is None:
        return "–"
    return Markup('<time datetime="{0}">{1}</time>').format(moment, f"{moment[:19].replace('T', ' ')} UTC")


def span(seconds: float | None) -> str:
    """Return a length of time in at most two units."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, unit, below, part in _UNITS:
        if seconds >= size:
            rest = int(seconds % size // below)
            return f"{seconds // size:.0f} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{round(seconds, 1):g} s"


def count(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def shown_json(value: Any) -> str:
    """Return JSON with indents; numbers keep every digit, and of a long one the beginning is shown."""
    raw = bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    text = json_safe(msgspec.json.format(raw, indent=2).decode(errors="replace"))
    return text if len(text) <= dc.JSON_SHOWN_MAX else text[: dc.JSON_SHOWN_MAX] + "\n…"


def is_long(value: Any) -> bool:
    """Say whether `shown_json` shows the beginning only."""
    raw = bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    return len(raw) > dc.JSON_SHOWN_MAX
