"""Finding by typing, in a real browser: the filter bar completes, views are kept, the palette jumps; the keyboard is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.furniture import submit
from tests.support import api

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Open
    from tests.browser.house import House

BAR = ".find input"


def options(page: Page, place: str = "#find-list") -> list[str]:
    page.wait_for_selector(f"{place} li")
    found: list[str] = page.locator(f"{place} li").all_inner_texts()
    return found


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def jump(page: Page, text: str) -> Any:
    page.keyboard.press("Control+k")
    page.wait_for_selector("#jump[open]")
    page.keyboard.type(text)
    return page.locator("#jump-list")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_filter_is_completed(house: House, visit: Open, axe: Callable[[Page], list[str]], theme: str) -> None:
    task_id = house.run(submit(house.platform, queue="completed-one"))
    house.app.state.dashboard.names.forget()
    page = visit("", theme=theme)
    page.keyboard.press("/")
    assert options(page) == ["state:", "queue:", "kind:", "tag:", "schedule:", "created:", "started:", "finished:", "id:"]
    assert axe(page) == []
    page.keyboard.type("stat")
    page.wait_for_function("document.querySelectorAll('#find-list li').length === 1")
    press(page, "ArrowDown", "Enter")
    page.keyboard.type("avai")
    page.wait_for_selector("#find-list li:text-is('available')")
    press(page, "ArrowDown", "Enter")
    assert page.input_value(BAR) == "state:available "
    page.keyboard.type("queue:leted-on")
    page.wait_for_selector("#find-list li:text-is('completed-one')")
    press(page, "ArrowUp")
    assert page.get_attribute(BAR, "aria-activedescendant") == "find-list-0"
    press(page, "Enter", "Enter")
    page.wait_for_selector(f"#t{task_id}")
    assert page.input_value(BAR) == "state:available queue:completed-one"


def test_a_completion_is_left_with_escape_and_a_second_state_follows(visit: Open) -> None:
    page = visit("tasks")
    page.keyboard.press("/")
    page.keyboard.type("state:running,")
    page.wait_for_selector("#find-list li")
    assert "running" not in options(page)
    page.click("#find-list li:text-is('retryable')")
    assert page.input_value(BAR) == "state:running,retryable "
    page.keyboard.press("Escape")
    page.wait_for_selector("#find-list", state="hidden")
    assert page.get_attribute(BAR, "aria-expanded") == "false"
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks?q=state%3Arunning%2Cretryable*")


def test_a_view_is_kept_in_this_browser(house: House, visit: Open) -> None:
    house.run(submit(house.platform, queue="viewed"))
    page = visit("tasks?q=queue:viewed")
    page.wait_for_selector('#live[data-stream="open"]')
    page.fill("#own input", "mine <b>")
    page.keyboard.press("Enter")
    page.wait_for_selector("#own a:text-is('mine <b>')")
    new = house.run(submit(house.platform, queue="viewed"))
    page.wait_for_selector(f"#t{new}")
    assert page.locator("#own a").count() == 1
    other = page.context.new_page()
    other.goto(page.url.partition("?")[0])
    other.click("#own a")
    other.wait_for_selector(f"#t{new}")
    assert other.get_attribute("#own a", "aria-current") == "true"
    other.click("#own button[aria-label='Remove the view mine <b>']")
    page.wait_for_selector("#own a", state="detached")


def test_the_views_that_are_there_lead_to_their_tasks(house: House, visit: Open) -> None:
    failed = house.run(submit(house.platform, queue="viewed"))
    house.run(api.finish(house.platform, failed, api.State.DISCARDED))
    page = visit("tasks")
    page.click(".views a:text-is('Failed within the hour')")
    page.wait_for_selector(f"#t{failed}")
    assert page.locator(".views [aria-current]").inner_text() == "Failed within the hour"
    for name in ("Still available after 10 min", "Running for over 10 min", "Still retried after an hour"):
        page.click(f".views a:text-is('{name}')")
        page.wait_for_selector(f".views [aria-current]:text-is('{name}')")
        assert page.locator("main [role=alert]").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_palette_is_accessible(visit: Open, axe: Callable[[Page], list[str]], lang: str, theme: str) -> None:
    page = visit("tasks", lang=lang, theme=theme)
    jump(page, api.KIND)
    page.wait_for_selector(f"#jump-list li:has-text('{api.KIND}')")
    assert axe(page) == []
    chosen = page.locator("#jump-list [aria-selected=true]")
    assert chosen.count() == 1
    assert chosen.get_attribute("id") == page.get_attribute("#jump-text", "aria-activedescendant")
    assert page.get_attribute("#jump-text", "aria-expanded") == "true"


def test_one_jumps_to_pages_queues_kinds_and_a_task(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform, queue="jumped-to"))
    house.app.state.dashboard.names.forget()
    page = visit("", errors=True)
    jump(page, "sched")
    press(page, "Enter")
    page.wait_for_selector("h1:has-text('Schedules')")
    jump(page, "jumped").locator("li:has-text('jumped-to')").wait_for()
    press(page, "Enter")
    page.wait_for_selector("h1:text-is('jumped-to')")
    jump(page, task_id)
    press(page, "Enter")
    page.wait_for_selector(f"#task-id:text-is('{task_id}')")
    jump(page, "queue:jumped-to").locator("li:has-text('Filter tasks')").wait_for()
    press(page, "Enter")
    page.wait_for_selector(f"#t{task_id}")
    jump(page, api.KIND).locator("li:has-text('Submit a task')").click()
    page.wait_for_selector(f"h1:text-is('Submit {api.KIND}')")


def test_the_palette_gives_the_focus_back(visit: Open) -> None:
    page = visit("queues")
    page.focus("#jump-open")
    press(page, "Enter")
    page.wait_for_selector("#jump[open]")
    assert page.evaluate("document.activeElement.id") == "jump-text"
    assert options(page, "#jump-list")[0].startswith("Overview")
    press(page, "ArrowDown", "ArrowDown", "ArrowUp")
    assert page.get_attribute("#jump-text", "aria-activedescendant") == "jump-list-1"
    press(page, "Escape")
    page.wait_for_selector("#jump", state="hidden")
    assert page.evaluate("document.activeElement.id") == "jump-open"


def test_who_may_only_read_is_offered_no_submit(visit: Open) -> None:
    page = visit("tasks", scope="read")
    listed = jump(page, api.KIND)
    listed.locator(f"li:has-text('{api.KIND}')").first.wait_for()
    assert "Submit" not in listed.inner_text()
