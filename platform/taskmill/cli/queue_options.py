"""The options of `taskmill queue set` and the columns of a queue, made of the settings' one declaration."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import rich_click as click

from taskmill.cli import phrases
from taskmill.cli.arguments import seconds, usage
from taskmill.cli.output import Column, duration
from taskmill.controls.queue_settings import RATE_FIELDS, SETTINGS, Form, Setting

F = TypeVar("F", bound=Callable[..., Any])
NONE = "none"
_NONE = frozenset({NONE, "default"})
_METAVARS = {Form.NUMBER: "N", Form.DURATION: "DURATION", Form.RATE: "N/DURATION[/BURST]"}
_LIKE = {Form.NUMBER: "", Form.DURATION: " Such as 7d.", Form.RATE: " Such as 100/1m/20."}
BY_STEM: Mapping[str, Setting] = {setting.stem: setting for setting in SETTINGS.values()}
# 接口的字段 → 命令行上的选项，出错时这样说
NAMES = {
    "queue": "NAME",
    **{name: setting.option for name, setting in SETTINGS.items()},
    **{f"{name}.{part}": each.option for name, each in SETTINGS.items() if each.form is Form.RATE for part in RATE_FIELDS},
}


def columns(*, wide: bool, given: Collection[str] = ()) -> tuple[Column, ...]:
    """Return the columns of those settings that only wide tables show, or of those that all do, and of those that were given."""
    chosen = [each for each in SETTINGS.values() if (each.shown is None and each.name not in given) == wide]
    return tuple(
        Column(
            each.name,
            each.head.zh,
            each.head.en,
            show=_SHOWN.get(each.form),
            rank=each.shown or 0,
            wide=wide,
        )
        for each in chosen
    )


def _rate_text(rate: Mapping[str, Any]) -> str:
    return f"{rate['limit']}/{rate['period_s']:g}s/{rate['burst']}"  # 与选项的写法相同，一位也不丢


_SHOWN: Mapping[Form, Callable[[Any], str]] = {Form.DURATION: duration, Form.RATE: _rate_text}


def options(command: F) -> F:
    """Give a command one option for each setting, in the order of their declaration."""
    for stem, setting in reversed(list(BY_STEM.items())):
        option = click.option(
            setting.option,
            stem,
            metavar=f"{_METAVARS[setting.form]}|{NONE}",
            default=None,
            help=setting.says(NONE) + _LIKE[setting.form],
        )
        command = option(command)
    return command


def changes(given: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the fields of a change from the options that were given, `none` as null; InputError USAGE."""
    return {
        BY_STEM[stem].name: None if text in _NONE else _READERS[BY_STEM[stem].form](text, BY_STEM[stem].option)
        for stem, text in given.items()
        if text is not None
    }


def _duration(text: str, option: str) -> int:
    return math.ceil(seconds(text, option) or 0)


def _number(text: str, option: str) -> int:
    if not text.isdecimal():
        raise usage(phrases.NOT_A_NUMBER(name=option))
    return int(text)


def _rate(text: str, option: str) -> dict[str, Any]:
    limit, _, rest = text.partition("/")
    period, _, burst = rest.partition("/")
    if not limit.isdecimal() or not period or (burst and not burst.isdecimal()):
        raise usage(phrases.NOT_A_RATE(name=option, value=text))
    made: dict[str, Any] = {"limit": int(limit), "period_s": seconds(period, option)}
    return made | ({"burst": int(burst)} if burst else {})


_READERS: Mapping[Form, Callable[[str, str], Any]] = {Form.NUMBER: _number, Form.DURATION: _duration, Form.RATE: _rate}
