"""How the options of `taskmill queue set` become a change of the queue's policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from taskmill.cli import phrases
from taskmill.cli.arguments import seconds, usage

_NONE = frozenset({"none", "default"})


def _retention(text: str) -> int:
    return math.ceil(seconds(text, "--retention") or 0)


def _number(option: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal():
            raise usage(phrases.NOT_A_NUMBER(name=option))
        return int(text)

    return read


def _rate(text: str) -> dict[str, Any]:
    limit, _, rest = text.partition("/")
    period, _, burst = rest.partition("/")
    if not limit.isdecimal() or not period or (burst and not burst.isdecimal()):
        raise usage(phrases.NOT_A_RATE(value=text))
    made: dict[str, Any] = {"limit": int(limit), "period_s": seconds(period, "--rate")}
    return made | ({"burst": int(burst)} if burst else {})


# 参数名 → 选项、接口的字段、怎么读
OPTIONS: Mapping[str, tuple[str, str, Callable[[str], Any]]] = {
    "retention": ("--retention", "retention_s", _retention),
    "max_running": ("--max-running", "max_running", _number("--max-running")),
    "max_running_per_key": ("--max-running-per-key", "max_running_per_key", _number("--max-running-per-key")),
    "rate": ("--rate", "rate", _rate),
    "max_backlog": ("--max-backlog", "max_backlog", _number("--max-backlog")),
}
NAMES = {
    "queue": "NAME",
    **{field: option for option, field, _ in OPTIONS.values()},
    **{f"rate.{field}": "--rate" for field in ("limit", "period_s", "burst")},
}


def changes(given: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the fields of a change from the options that were given, `none` as null; InputError USAGE."""
    return {
        OPTIONS[name][1]: None if text in _NONE else OPTIONS[name][2](text)
        for name, text in given.items()
        if text is not None
    }
