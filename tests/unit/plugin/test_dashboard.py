"""What a plugin adds to the dashboard is checked while it comes up, in words that lead to the part that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.errors import Code, PluginError
from taskmill.plugin import Dashboard, Page, Panel, Words
from taskmill.plugin import constants as c
from taskmill.plugin.host import PluginHost
from taskmill.plugin.info import PluginInfo, PluginState
from taskmill.settings import Settings
from tests.unit.plugin.plugins import plugin

TITLE = Words("面板", "Panel")


async def rows() -> list[Any]:
    return []


FINE = Panel(TITLE, rows)
PAGE = Page("notes", TITLE, [FINE])


def loaded(answer: Any) -> tuple[PluginHost, PluginInfo]:
    def taskmill_dashboard() -> Any:
        return answer

    host = PluginHost.load(
        Settings(plugins_allow=["adds"]), {"adds": plugin("adds", taskmill_dashboard, requires_api=">=1.1")}, env={}
    )
    return host, next(info for info in host.plugins() if info.name == "adds")


@pytest.mark.parametrize(
    "answer",
    [
        Dashboard(pages=[PAGE]),
        Dashboard(task_panels=(FINE,)),
        Dashboard(pages=[PAGE], task_panels=[Panel(TITLE, rows, ("a.b",))]),
    ],
)
def test_what_is_whole_is_added(answer: Dashboard) -> None:
    host, info = loaded(answer)
    assert (info.state, info.error) == (PluginState.LOADED, None)
    assert host.dashboards() == {"adds": answer}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([FINE], "taskmill_dashboard must be Dashboard, not list"),
        (Dashboard(pages=PAGE), "Dashboard.pages must be list[Page], not Page"),  # type: ignore[arg-type]
        (Dashboard(pages=[FINE]), "Dashboard.pages must be list[Page]"),  # type: ignore[list-item]
        (Dashboard(pages=[Page("a/b", TITLE, [])]), "Dashboard.pages['a/b'].name has characters"),
        (Dashboard(pages=[Page("..", TITLE, [])]), "Dashboard.pages['..'].name has characters"),
        (Dashboard(pages=[PAGE, PAGE]), "two pages are called notes"),
        (Dashboard(pages=[Page("a", "A", [])]), "Dashboard.pages['a'].title must be Words, not str"),  # type: ignore[arg-type]
        (Dashboard(pages=[Page("a", Words("", ""), [])]), "title has characters"),
        (Dashboard(pages=[Page("a", TITLE, [PAGE])]), "Dashboard.pages['a'].panels must be list[Panel]"),  # type: ignore[list-item]
        (Dashboard(task_panels=[Panel(TITLE, None)]), "Dashboard.task_panels[0].rows must be function, not NoneType"),  # type: ignore[arg-type]
        (Dashboard(task_panels=[Panel(TITLE, rows, "a.b")]), "task_panels[0].kinds must be tuple[kind, ...], not str"),  # type: ignore[arg-type]
        (Dashboard(task_panels=[FINE] * (c.DASHBOARD_PARTS_MAX + 1)), "may have at most 10"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_fails_the_plugin_at_its_start(answer: Any, words: str) -> None:
    host, info = loaded(answer)
    assert info.state is PluginState.FAILED
    assert info.error is not None
    assert words in info.error.en
    assert info.error.zh != info.error.en
    assert host.dashboards() == {}


def test_a_plugin_that_is_held_back_adds_nothing() -> None:
    host, _ = loaded(Dashboard(pages=[PAGE]))
    host.hold("adds", PluginError(Code.PLUGIN_FAILED, plugin="adds", reason="behind"))
    assert host.dashboards() == {}
    host.release(["adds"])
    assert list(host.dashboards()) == ["adds"]
