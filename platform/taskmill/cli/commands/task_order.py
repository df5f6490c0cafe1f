"""The options of a submit that say after which tasks it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

F = TypeVar("F", bound=Callable[..., Any])
# 接口的字段 → 这里的选项
NAMES = {
    "sequence_key": "--sequence-key",
    "sequence_on_failure": "--sequence-on-failure",
    "depends_on": "--depends-on",
    "on_parent_failure": "--on-parent-failure",
}
_OPTIONS = (
    click.option("--sequence-key", default=None, help="One at a time with all of this key, in the order of submits."),
    click.option(
        "--sequence-on-failure",
        type=click.Choice(["continue", "stop"]),
        default=None,
        help="What those behind it do if it fails; stop: wait until it is retried, cancelled or skipped.",
    ),
    click.option("--depends-on", multiple=True, metavar="ID", help="Not before this task has ended; repeatable."),
    click.option(
        "--on-parent-failure",
        type=click.Choice(["cancel", "run"]),
        default=None,
        help="If one of these fails or is cancelled; default: cancel.",
    ),
)


def order_options(function: F) -> F:
    """Give a command the options; they reach it as keyword arguments, for `order_of`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def order_of(given: dict[str, Any]) -> dict[str, Any]:
    """Take the options out of `given`; returns the fields of the request."""
    found = {name: given.pop(name) for name in NAMES}
    found["depends_on"] = list(found["depends_on"]) or None
    return {name: value for name, value in found.items() if value is not None}
