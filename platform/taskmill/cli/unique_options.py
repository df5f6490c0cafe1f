"""The options of a submit that say of what the task may be there once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import rich_click as click

from taskmill.cli import phrases
from taskmill.cli.arguments import compact, seconds, usage
from taskmill.controls.unique import OnDuplicate, While

F = TypeVar("F", bound=Callable[..., Any])
WHILE = click.Choice(get_args(While))
ON_DUPLICATE = click.Choice(get_args(OnDuplicate))
# 接口的字段 → 这里的选项
NAMES = {
    "unique.by": "--unique-by",
    "unique.key": "--unique-key",
    "unique.period_s": "--unique-for",
    "unique.while": "--unique-while",
    "unique_key": "--unique-key",
}
_OPTIONS = (
    click.option("--unique", is_flag=True, help="There once only: no second one with the same args."),
    click.option("--unique-by", metavar="ARG,…", default=None, help="The same, by these args only: url,user.id."),
    click.option("--unique-key", default=None, help="The same, by a key of your own."),
    click.option("--unique-while", type=WHILE, default=None, help="How long: until it is final, or until it starts."),
    click.option("--unique-for", metavar="DURATION", default=None, help="And in any case this long from now: 10m."),
    click.option("--on-duplicate", type=ON_DUPLICATE, default=None, help="Name the one that is there, change it, or fail."),
    click.option("--not-unique", is_flag=True, help="However often, whatever its kind says."),
)


def unique_options(function: F) -> F:
    """Give a command the options; they reach it as keyword arguments, for `unique_of`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def unique_of(given: dict[str, Any]) -> dict[str, Any]:
    """Take the options out of `given`; returns the fields of the request. InputError USAGE if they do not go together."""
    by, key = given.pop("unique_by"), given.pop("unique_key")
    rest = compact(
        {
            "while": given.pop("unique_while"),
            "period_s": seconds(given.pop("unique_for"), "--unique-for"),
            "on_duplicate": given.pop("on_duplicate"),
        }
    )
    unique, off = given.pop("unique"), given.pop("not_unique")
    if off:
        if unique or by is not None or key is not None or rest:
            raise usage(phrases.NOT_UNIQUE_ALONE)
        return {"unique": None}
    if key is not None and not rest and not unique and by is None:
        return {"unique_key": key}
    if not (unique or rest or by is not None or key is not None):
        return {}
    named = None if by is None else [path.strip() for path in by.split(",") if path.strip()]
    return {"unique": rest | compact({"by": named, "key": key})}
