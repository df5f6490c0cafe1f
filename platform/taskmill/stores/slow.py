"""Statements that took long, by the name that the code has for them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from taskmill.log import get_logger
from taskmill.stores import constants as sc

log = get_logger(__name__)
_STORES = "taskmill.stores."
_SAID = "/* "


@lru_cache(maxsize=256)
def named(query: str) -> str:
    """Return the constant that holds a statement (`tasks.claim.CLAIM`); one that no constant holds is named by its beginning.

    A statement that is made says its name in a comment that it begins with.
    """
    if query.startswith(_SAID):
        return query.removeprefix(_SAID).partition(" */")[0]
    for name, module in list(sys.modules.items()):
        if name.startswith(_STORES):
            for constant, value in list(vars(module).items()):
                if constant.isupper() and isinstance(value, str) and value == query:
                    return f"{name.removeprefix(_STORES)}.{constant}"
    return " ".join(query.split())[: sc.SLOW_NAME_MAX]


@dataclass(slots=True)
class _Told:
    at: float
    more: int = 0
    most_s: float = 0.0


class SlowLog:
    """One WARNING line for each statement of `limit_s` or longer, as this process saw it: a loop that stands still counts too.

    The same statement is told once in SLOW_REPEAT_S; the next line says how many there were meanwhile, and the slowest.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def note(self, query: str, took_s: float) -> None:
        """Take one statement that was executed."""
        if took_s < self.limit_s:
            return
        name, now = named(query), self._clock()
        told = self._told.get(name)
        if told is not None and now - told.at < sc.SLOW_REPEAT_S:
            told.more, told.most_s = told.more + 1, max(told.most_s, took_s)
            return
        since = {} if told is None or not told.more else {"more": told.more, "most_ms": round(told.most_s * 1000)}
        if told is None and len(self._told) >= sc.SLOW_NAMES_MAX:
            self._told.clear()
        self._told[name] = _Told(now)
        log.warning("语句慢", statement=name, took_ms=round(took_s * 1000), **since)
