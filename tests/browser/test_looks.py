"""Every page as a person and a machine would look at it: accessible, within its width, in both languages and themes, light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.furniture import furnish
from tests.support.rich_kind import RICH

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Open
    from tests.browser.house import House

SHOTS = Path(__file__).parents[2] / ".cache" / "browser" / "shots"
JS_MAX, CSS_MAX = 45 * 1024, 15 * 1024
IDLE_MS = 5_000
FORMS = ("tasks/new", f"tasks/new?kind={RICH}", f"tasks/new?kind={RICH}&as=json")
PAGES = (
    "",
    "?hours=168",
    "tasks",
    "failures",
    "queues",
    "queues/mail",
    "queues/mail?hours=24",
    "schedules",
    "workers",
    "plugins",
    "plugin/extra/page",
    "system",
    "tasks?q=stat:x",
    *FORMS,
)
TASKS = ("available", "running", "completed", "discarded", "scheduled")


@pytest.fixture(scope="module")
def ids(house: House) -> dict[str, str]:
    return house.run(furnish(house.platform))


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(
    visit: Open, ids: dict[str, str], axe: Callable[[Page], list[str]], lang: str, theme: str
) -> None:
    page = visit("", lang=lang, theme=theme, errors=True)  # 错的筛选是 422，浏览器自己会记一笔
    root = page.url
    for path in [*PAGES, f"failures/{ids['group']}", *(f"tasks/{ids[state]}" for state in TASKS)]:
        page.goto(root + path)
        page.wait_for_selector("h1")
        assert axe(page) == [], path
        name = path.split("/")[0].split("?")[0] or "overview"
        page.screenshot(path=SHOTS / f"{name}-{lang}-{theme}.png")
    page.goto(root + "tasks")
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    assert axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_log_in_is_accessible(visit: Open, axe: Callable[[Page], list[str]], theme: str) -> None:
    page = visit("login", scope=None, theme=theme)
    assert axe(page) == []


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_nothing_sticks_out(visit: Open, ids: dict[str, str], lang: str) -> None:
    page = visit("", lang=lang, errors=True)
    root = page.url
    for path in [*PAGES, f"failures/{ids['group']}", f"tasks/{ids['discarded']}"]:
        page.goto(root + path)
        page.wait_for_selector("h1")
        for width in (360, 700, 1000, 1210, 1280, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate(
                "() => [...document.querySelectorAll('main *')].filter(e => !e.closest('.trace, .json, .hidden') && "
                "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
            )
            assert (page.evaluate("document.documentElement.scrollWidth") <= width, wide) == (True, []), (path, width)
            over = page.evaluate(
                "() => [...document.querySelectorAll('.panel > table')].filter(e => e.getBoundingClientRect().right > "
                "e.parentElement.getBoundingClientRect().right).map(e => e.outerHTML.slice(0, 80))"
            )
            assert over == [], (path, width)


@pytest.mark.parametrize("width", [360, 1280])
def test_targets_are_large_enough(visit: Open, ids: dict[str, str], width: int) -> None:
    page = visit("tasks", width=width)
    small = page.evaluate(
        "() => [...document.querySelectorAll('button, .rail a, .button, summary')].map(e => [e.outerHTML.slice(0, 60), "
        "e.getBoundingClientRect()]).filter(([, box]) => box.width && (box.width < 24 || box.height < 24)).map(([e]) => e)"
    )
    assert small == []


def test_a_page_is_light(visit: Open, ids: dict[str, str]) -> None:
    page = visit("")
    sizes = {"js": 0, "css": 0}
    page.reload()
    page.wait_for_selector("#live[data-state]")
    for name, size in page.evaluate(
        "() => performance.getEntriesByType('resource').map(e => [new URL(e.name).pathname, e.encodedBodySize])"
    ):
        kind = name.rpartition(".")[2]
        if kind in sizes:
            sizes[kind] += size
    assert 0 < sizes["js"] <= JS_MAX
    assert 0 < sizes["css"] <= CSS_MAX


def test_an_open_page_that_nobody_touches_is_quiet(visit: Open, ids: dict[str, str]) -> None:
    page = visit("")
    page.wait_for_selector('#live[data-stream="open"]')
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(IDLE_MS)
    assert len(asked) < IDLE_MS / 1000
