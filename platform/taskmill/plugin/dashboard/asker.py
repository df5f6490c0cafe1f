"""Asks a panel of a plugin for its rows: within a time limit, at most so many and so long, and harmless to show."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import msgspec

from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.log import get_logger
from taskmill.plugin import constants as c
from taskmill.plugin.breaker import Breaker
from taskmill.plugin.dashboard.parts import Form, Panel, Row
from taskmill.plugin.executors.daemon_pool import DaemonPool
from taskmill.text.printable import json_safe, printable
from taskmill.words import Words

log = get_logger("taskmill.plugin", {"插件的面板没有给出": "a panel of a plugin could not be given"})
_FORMS = frozenset(get_args(Form))


@dataclass(frozen=True, slots=True)
class Told:
    """A row as it is shown: `text` holds nothing that steers what is around it, and is escaped by the template."""

    label: Words
    text: Words
    form: Form
    cut: bool


class PanelAsker:
    """Asks one panel. What raises, hangs or answers nonsense gives a reason instead of rows; failures in a row open its breaker."""

    def __init__(self, plugin: str, panel: Panel, pool: DaemonPool, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._plugin, self.panel, self._pool = plugin, panel, pool
        self._breaker = Breaker(plugin, clock=clock, timeout_s=c.PANEL_TIMEOUT_S, failing=reasons.PANEL_FAILING)

    async def ask(self, *facts: Any) -> tuple[list[Told], Words | None]:
        """Return the rows, or none and why."""
        rested = self._breaker.open
        told, reason = await self._breaker.ask(partial(self._rows, *facts))
        if told is not None:
            return told, None
        words = reason if isinstance(reason, Words) else Words(zh=reason, en=reason)
        if not rested:
            log.warning("插件的面板没有给出", plugin=self._plugin, panel=self.panel.title.en, reason=str(words))
        return [], Words(zh=_shown(words.zh, c.PANEL_REASON_MAX_CHARS), en=_shown(words.en, c.PANEL_REASON_MAX_CHARS))

    async def _rows(self, *facts: Any) -> list[Told]:
        if inspect.iscoroutinefunction(self.panel.rows):
            rows = await self.panel.rows(*facts)
        else:
            rows = await asyncio.wrap_future(self._pool.submit(self.panel.rows, *facts))
            if inspect.isawaitable(rows):
                rows = await rows
        return _told(rows)


def _told(rows: Any) -> list[Told]:
    """检查并截断；编码不了的值也算面板的失败。"""
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, Row) and row.form in _FORMS for row in rows):
        message = f"the panel returned {type(rows).__name__}, not a list of Row"
        raise TypeError(message)
    found: list[Told] = []
    left = c.PANEL_MAX_CHARS
    for row in rows[: c.PANEL_ROWS_MAX]:
        label, value = _words(row.label), _words(_json(row.value) if row.form == "json" else row.value)
        room = min(left, c.PANEL_VALUE_MAX_CHARS)
        safe = json_safe if row.form == "json" else _lines
        length = max(len(value.zh), len(value.en))
        english = _cut(value.en, room, safe)
        text = Words(zh=english if value.zh == value.en else _cut(value.zh, room, safe), en=english)
        short = Words(zh=_shown(label.zh, c.PANEL_LABEL_MAX_CHARS), en=_shown(label.en, c.PANEL_LABEL_MAX_CHARS))
        found.append(Told(short, text, row.form, cut=length > room))
        left = max(0, left - length)
    return found


def _words(value: Any) -> Words:
    if isinstance(value, Words):
        return value
    text = value if isinstance(value, str) else str(value)
    return Words(zh=text, en=text)


def _json(value: Any) -> str:
    raw = bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    return msgspec.json.format(raw, indent=2).decode(errors="replace")


def _cut(text: str, room: int, safe: Any) -> str:
    return safe(text) if len(text) <= room else f"{safe(text[:room])}…"


def _lines(text: str) -> str:
    return printable(text, "\n\t")


def _shown(text: str, limit: int) -> str:
    return _cut(" ".join(text.split()) if len(text) <= limit else text[:limit], limit, printable)
