"""The submit form in a real browser: filled in, corrected in place, submitted, left alone meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.furniture import submit
from tests.support import api
from tests.support.rich_kind import RICH, publish_rich

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Open
    from tests.browser.house import House

FORM = f"tasks/new?kind={RICH}"
ARGS = 'section:has(a[href$="args.json"]) pre.json'  # 插件的面板里也有 JSON


@pytest.fixture(autouse=True)
def rich(house: House) -> None:
    house.run(publish_rich(house.platform))


def box(name: str) -> str:
    return f'[name="args/{name}"]'


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_what_is_wrong_is_corrected_in_place(house: House, visit: Open, axe: Callable[[Page], list[str]], lang: str) -> None:
    page = visit("plugins", lang=lang, errors=True)  # 没有提交成的是 422，浏览器自己会记一笔
    page.click(f"[id='kind-{RICH}'] a.button")
    page.fill(box("text"), "first\nsecond")
    page.fill(box("order"), "seven")
    page.fill(box("lines"), "a\nb")
    page.fill(box("address/street"), "x")
    page.select_option(box("colour"), '"green"')
    page.click("main button.primary")
    alert = page.locator("main [role=alert]")
    alert.wait_for()
    assert axe(page) == []
    assert page.evaluate("document.activeElement.getAttribute('role')") == "alert"
    assert page.locator("main [aria-invalid]").count() == alert.locator("a").count() == 2
    assert page.input_value(box("text")) == "first\nsecond"
    assert page.input_value(box("order")) == "seven"
    assert page.input_value(box("colour")) == '"green"'
    told = page.locator(".field", has=page.locator(box("order"))).locator(".wrong").inner_text()
    assert told == ("须是数，例如 7 或 1.5" if lang == "zh" else "must be a number such as 7 or 1.5")
    alert.locator("a").first.click()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name").startswith("args/")
    page.fill(box("order"), "12345678901234567")
    page.fill(box("address/street"), "Long Street 1")
    page.click("main button.primary")
    page.wait_for_selector("#task-id")
    shown = page.locator(ARGS).inner_text()
    for words in ('"order": 12345678901234567', '"colour": "green"', "first\\nsecond", '"street": "Long Street 1"'):
        assert words in shown


def test_the_keyboard_is_enough_to_submit(house: House, visit: Open) -> None:
    page = visit(f"tasks/new?kind={api.KIND}")
    page.focus(box("n"))
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#task-id")
    assert '"n": 7' in page.locator(ARGS).inner_text()


def test_a_kind_is_chosen_and_args_are_json(visit: Open) -> None:
    page = visit("tasks")
    page.click("main .head a.button")
    page.click(f"main a:has-text('{api.KIND}')")
    page.click("main a:has-text('Write all args as JSON')")
    page.fill('[name="args"]', '{"text": "all at once"}')
    page.click("main button.primary")
    page.wait_for_selector("pre.json:has-text('all at once')")


def test_what_is_typed_is_left_alone(house: House, visit: Open) -> None:
    page = visit(FORM)
    page.wait_for_selector('#live[data-stream="open"]')
    page.fill(box("text"), "half a")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    house.run(submit(house.platform))
    house.run(house.app.state.dashboard.pulse.look())
    page.wait_for_timeout(2_500)
    assert asked == []
    assert page.input_value(box("text")) == "half a"


def test_who_may_only_read_has_no_form(visit: Open) -> None:
    page = visit("tasks", scope="read", errors=True)
    assert page.locator("a[href*='tasks/new']").count() == 0
    page.goto(page.url + "/new")
    page.wait_for_selector("code:text('FORBIDDEN')")
