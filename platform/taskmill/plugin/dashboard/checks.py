"""What a plugin adds to the dashboard is checked while it comes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from taskmill import naming, reasons
from taskmill.errors import UnfitError
from taskmill.plugin import constants as c
from taskmill.plugin.dashboard.parts import Dashboard, Page, Panel
from taskmill.plugin.definition import storable
from taskmill.words import Words

_WHERE = "Dashboard"
T = TypeVar("T")


def check_dashboard(found: Any) -> None:
    """Raise UnfitError unless everything has a title in both languages, a function, and a name that fits URLs."""
    if not isinstance(found, Dashboard):
        raise UnfitError(reasons.NOT_A(where="taskmill_dashboard", wanted=_WHERE, given=type(found).__name__))
    pages = _all(found.pages, Page, f"{_WHERE}.pages")
    for page in pages:
        where = f"{_WHERE}.pages[{page.name!r}]"
        if not naming.is_plugin(page.name):
            raise UnfitError(reasons.NOT_STORABLE(field=f"{where}.name"))
        _title(page.title, where)
        _panels(page.panels, f"{where}.panels")
    names = [page.name for page in pages]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UnfitError(reasons.PAGE_TWICE(name=twice))
    _panels(found.task_panels, f"{_WHERE}.task_panels")


def _panels(found: Any, where: str) -> None:
    for number, panel in enumerate(_all(found, Panel, where)):
        _title(panel.title, f"{where}[{number}]")
        if not callable(panel.rows):
            given = type(panel.rows).__name__
            raise UnfitError(reasons.NOT_A(where=f"{where}[{number}].rows", wanted="function", given=given))
        kinds: Any = panel.kinds
        if not isinstance(kinds, tuple) or not all(naming.may_be_kind(kind) for kind in kinds):
            given = type(kinds).__name__
            raise UnfitError(reasons.NOT_A(where=f"{where}[{number}].kinds", wanted="tuple[kind, ...]", given=given))


def _all(found: Any, form: type[T], where: str) -> Sequence[T]:
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, form) for each in found):
        raise UnfitError(reasons.NOT_A(where=where, wanted=f"list[{form.__name__}]", given=type(found).__name__))
    if len(found) > c.DASHBOARD_PARTS_MAX:
        raise UnfitError(reasons.AT_MOST_PARTS(where=where, most=c.DASHBOARD_PARTS_MAX))
    return found


def _title(title: Any, where: str) -> None:
    if not isinstance(title, Words):
        raise UnfitError(reasons.NOT_A(where=f"{where}.title", wanted="Words", given=type(title).__name__))
    if not (storable(title.zh) and storable(title.en) and 0 < max(len(title.zh), len(title.en)) <= c.PANEL_LABEL_MAX_CHARS):
        raise UnfitError(reasons.NOT_STORABLE(field=f"{where}.title"))
