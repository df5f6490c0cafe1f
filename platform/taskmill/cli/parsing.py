"""What click says about a command line that it cannot parse, in both languages: it speaks English only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import rich_click as click

from taskmill.cli import phrases
from taskmill.words import Words

_QUOTED = re.compile(r"'([^']*)'")
_COMMAND = re.compile(r"No such command '(.*?)'", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)


def told(error: click.ClickException) -> Words:
    """Return what is wrong; of what only click or a plugin's own type knows, its words stand in ours."""
    if isinstance(error, click.NoSuchOption):
        return phrases.NO_OPTION(name=error.option_name, hint=_close(error.possibilities))
    if isinstance(error, click.MissingParameter):
        return phrases.MISSING(name=_name(error), known=_choices(error))
    if isinstance(error, click.BadParameter):
        return _bad(error)
    if isinstance(error, click.BadOptionUsage):
        template = phrases.TAKES_NO_VALUE if "does not take a value" in error.message else phrases.NEEDS_A_VALUE
        return template(name=error.option_name)
    message = error.format_message()
    command = _COMMAND.match(message)
    if command is not None:
        return phrases.NO_COMMAND(name=command[1], hint=_close(_commands_like(command[1], error)))
    extra = _EXTRA.match(message)
    return phrases.OTHER(error=message) if extra is None else phrases.TOO_MANY(names=extra[1])


def _bad(error: click.BadParameter) -> Words:
    name, kind = _name(error), None if error.param is None else error.param.type
    if isinstance(kind, click.Choice):
        value = _QUOTED.match(error.message)
        return phrases.NOT_OF(name=name, value="?" if value is None else value[1], names=_listed(kind.choices))
    if isinstance(kind, click.IntRange | click.FloatRange):
        if kind.max is None:
            return phrases.AT_LEAST(name=name, low=_number(kind.min))
        return phrases.OUT_OF_RANGE(name=name, low=_number(kind.min), high=_number(kind.max))
    if kind in {click.INT, click.FLOAT}:
        return phrases.NOT_A_NUMBER(name=name)
    template = phrases.BAD_PATH if isinstance(kind, click.Path) else phrases.BAD_VALUE
    return template(name=name, error=error.message)


def _number(value: float | None) -> str:
    return "-∞" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _name(error: click.BadParameter) -> str:
    """命令行上怎么写它：选项的长名字，参数的大写名。"""
    if error.param is None:
        return "?" if error.param_hint is None else str(error.param_hint)
    if isinstance(error.param, click.Option):
        return max(error.param.opts, key=len)
    return error.param.make_metavar(error.ctx) if error.ctx is not None else error.param.human_readable_name


def _choices(error: click.MissingParameter) -> Words | str:
    kind = None if error.param is None else error.param.type
    return phrases.CHOICES(names=_listed(kind.choices)) if isinstance(kind, click.Choice) else ""


def _commands_like(name: str, error: click.ClickException) -> list[str]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or not isinstance(context.command, click.Group):
        return []
    return difflib.get_close_matches(name, context.command.list_commands(context), n=1)


def _close(names: Sequence[str] | None) -> Words | str:
    return phrases.DID_YOU_MEAN(names=_listed(names)) if names else ""


def _listed(names: Sequence[Any]) -> Words:
    return Words(zh="、".join(str(name) for name in names), en=", ".join(str(name) for name in names))
