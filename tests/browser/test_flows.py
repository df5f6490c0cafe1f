"""What people do, in a real browser: in, look, act, leave it open, go back, with the keyboard alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from taskmill.api.app import one_time_link
from taskmill.services.schedules.service import ScheduleRequest, ScheduleService
from tests.browser.furniture import WAITS, submit, waits
from tests.browser.house import proxied
from tests.support import api

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Open
    from tests.browser.house import House


def row(page: Page, task_id: str) -> Any:
    return page.locator(f"#t{task_id}")


def expects(page: Page, words: str) -> None:
    page.wait_for_selector(f"#notice :text('{words}')")


def test_the_link_logs_in(house: House, visit: Open) -> None:
    page = visit("login", scope=None)
    page.goto(one_time_link(house.app, house.url) or "")
    assert page.locator("h1").inner_text() == "Overview"
    assert "token" not in page.url


def test_a_wrong_key_is_told_and_the_right_one_leads_where_one_wanted(house: House, visit: Open) -> None:
    page = visit("queues/nothing", scope=None, errors=True)
    page.fill("#api_key", "wrong")
    page.click("button.primary")
    assert "unknown, expired or revoked" in page.locator('[role="alert"]').inner_text()
    page.fill("#api_key", house.keys["read"])
    page.click("button.primary")
    page.wait_for_selector("code:text('QUEUE_NOT_FOUND')")
    assert page.url.endswith("/dashboard/queues/nothing")


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_new_task_appears_and_nothing_that_i_did_is_lost(house: House, visit: Open, lang: str) -> None:
    old = house.run(submit(house.platform, queue="live"))
    page = visit("tasks?q=queue:live", lang=lang)
    page.wait_for_selector('#live[data-stream="open"]')
    box = row(page, old).locator("input")
    box.check()
    box.focus()
    page.evaluate("id => { document.getElementById(id).mine = 'yes' }", f"t{old}")
    new = house.run(submit(house.platform, queue="live"))
    row(page, new).wait_for()
    assert box.is_checked()
    assert page.evaluate("document.activeElement.value") == old
    assert page.evaluate("id => document.getElementById(id).mine", f"t{old}") == "yes"
    assert page.locator("#picked").inner_text() == ("已选 1 个" if lang == "zh" else "1 selected")
    assert page.locator("button[value=cancel]").is_enabled()


def test_open_details_stay_open(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform))
    house.run(api.finish(house.platform, task_id, api.State.DISCARDED))
    page = visit(f"tasks/{task_id}")
    attempt = page.locator("details").first
    assert attempt.get_attribute("open") is not None
    attempt.locator("summary").first.click()
    assert attempt.get_attribute("open") is None
    with page.expect_response(lambda answer: answer.url.endswith(task_id)):
        house.run(house.platform.tasks.retry(UUID(task_id)))
    page.wait_for_selector(".state.available")
    assert attempt.get_attribute("open") is None


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_task_says_why_in_the_words_of_the_api(house: House, visit: Open, lang: str) -> None:
    task_id = house.run(submit(house.platform, queue="explained"))
    house.run(house.platform.queues.pause("explained", by="key:ops"))
    page = visit(f"tasks/{task_id}", lang=lang)
    told = house.run(house.platform.tasks.explain(UUID(task_id))).waiting
    assert {"QUEUE_PAUSED", "NO_WORKER"} <= {each.code.value for each in told}
    shown = page.locator(".why li").all_inner_texts()
    assert len(shown) == len(told)
    for each, text in zip(told, shown, strict=True):
        for words in (getattr(each.message, lang), each.code.value, *each.next):
            assert words in text
    page.click("button.danger")
    page.wait_for_selector(".why.ended :text('CANCELLED')")
    [fate] = house.run(house.platform.tasks.explain(UUID(task_id))).fate
    assert getattr(fate.message, lang) in page.locator(".why.ended").inner_text()


def test_what_fails_in_the_same_way_is_one_group(house: House, visit: Open) -> None:
    ids = [house.run(submit(house.platform)) for _ in range(2)]
    for each in ids:
        house.run(api.finish(house.platform, each, api.State.DISCARDED))
    page = visit("")
    page.click("main a:has-text('By cause')")
    group = page.locator("tbody tr", has_text="ValueError").first  # 最近失败的在前；别的测试也留下了几组
    group.wait_for()
    assert "no" in group.inner_text()
    group.locator("a:has-text('Newest task')").click()
    page.wait_for_selector(f"#task-id:text('{ids[1]}')")
    page.click("a:has-text('Failures like this one')")
    page.wait_for_selector("h1:text('ValueError')")
    assert "trace" in page.locator(".trace").inner_text()
    page.wait_for_selector('#live[data-stream="open"]')
    new = house.run(submit(house.platform))
    house.run(api.finish(house.platform, new, api.State.DISCARDED))
    row(page, new).wait_for()
    page.keyboard.press("g")
    page.keyboard.press("f")
    group.locator("a.open").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("main .panel table")
    page.click("main a:has-text('Failed tasks of the kind')")
    row(page, new).wait_for()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_queue_draws_what_ended_its_waits_and_its_runs_and_says_them(house: House, visit: Open, lang: str) -> None:
    house.run(submit(house.platform, queue="waits"))
    page = visit("queues/waits", lang=lang)
    nothing = "这段时间没有任务执行完" if lang == "zh" else "Nothing has run in this time"
    page.wait_for_selector(f"main :text('{nothing}')")
    assert page.locator(f"main :text('{nothing}')").count() == 2
    page.wait_for_selector('#live[data-stream="open"]')
    house.run(waits(house.platform, f"waits-{lang}"))
    page.goto(page.url.replace("queues/waits", f"queues/waits-{lang}"))
    page.wait_for_selector("svg.chart")
    for chart in page.locator("svg.chart").all():
        told = chart.get_attribute("aria-label") or ""
        assert ("最近 6 小时" if lang == "zh" else "the last 6 h") in told
    assert page.locator("svg.chart").count() == 3
    for name in ("ended", "waits", "runs"):
        page.click(f"#{name}-data summary")
        assert page.locator(f"#{name}-data tbody tr").count() == WAITS
    assert page.locator("svg.chart rect.of.completed").count() == WAITS
    assert page.locator("svg.chart polyline").count() == 6


def test_how_far_a_chart_looks_stays_as_chosen_while_the_page_is_live(house: House, visit: Open) -> None:
    house.run(waits(house.platform, "far"))
    page = visit("")
    assert page.locator(".trend [aria-current]").inner_text() == "1 h"
    bars = page.locator("rect.of.completed")
    lately = bars.count()
    page.click(".trend nav a:has-text('6 h')")
    page.wait_for_url("**?hours=6")
    page.wait_for_selector('#live[data-stream="open"]')
    assert bars.count() > lately
    page.click("#ended-data summary")
    before = page.locator(".number.available b").inner_text()
    with page.expect_response(lambda answer: answer.url.endswith("/dashboard/?hours=6") and answer.status == 200):
        house.run(submit(house.platform))
    page.wait_for_function("was => document.querySelector('.number.available b').textContent !== was", arg=before)
    assert page.locator(".trend [aria-current]").inner_text() == "6 h"
    assert page.locator("#ended-data").get_attribute("open") is not None


def test_cancel_and_undo(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform))
    page = visit(f"tasks/{task_id}")
    page.click("button.danger")
    expects(page, "The task is cancelled")
    page.wait_for_selector("main .state.cancelled")
    page.click("#notice button")
    expects(page, "The task runs again")
    page.wait_for_selector("main .state.available")


def test_the_selected_are_shown_first(house: House, visit: Open) -> None:
    ids = [house.run(submit(house.platform, queue="many")) for _ in range(3)]
    page = visit("tasks?q=queue:many")
    page.check("#all")
    row(page, ids[0]).locator("input").uncheck()
    page.click("button[value=cancel]")
    dialog = page.locator("#dialog")
    dialog.wait_for()
    assert "Cancel 2 tasks?" in dialog.inner_text()
    page.click("#dialog [data-close]")
    assert row(page, ids[1]).locator(".state.available").is_visible()
    page.click("button[value=cancel]")
    page.click("#dialog button.danger")
    expects(page, "Cancelled 2 of 2")
    row(page, ids[1]).locator(".state.cancelled").wait_for()
    assert row(page, ids[0]).locator(".state.available").is_visible()
    assert page.locator("tbody :checked").count() == 0


def test_pause_undo_and_a_schedule_now(house: House, visit: Open) -> None:
    house.run(submit(house.platform, queue="pausable"))
    page = visit("queues/pausable")
    page.click("main form button")
    expects(page, "The queue pausable is paused")
    page.wait_for_selector("main .tag.warn")
    page.wait_for_selector("main form button:has-text('Resume')")  # 焦点还在它上面
    page.click("#notice button")
    expects(page, "The queue pausable goes on")
    page.wait_for_selector("main .tag.warn", state="detached")
    schedules = ScheduleService(house.platform.database, house.platform.submit)
    made = house.run(schedules.create(ScheduleRequest(name="by-hand", kind=api.KIND, interval_s=3_600)))
    page.goto(page.url.replace("queues/pausable", "schedules"))
    page.click(f"#c{made.id} button:has-text('Run now')")
    page.click("#notice a")
    page.wait_for_selector("h1:text('test.echo')")


def test_a_filter_is_typed_and_a_wrong_one_is_told(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform, queue="typed"))
    page = visit("", errors=True)
    page.keyboard.press("/")
    page.keyboard.type("queue:typed")
    page.keyboard.press("Enter")
    row(page, task_id).wait_for()
    page.fill(".find input", "stat:running")
    page.keyboard.press("Enter")
    assert "did you mean state, started?" in page.locator('[role="alert"]').inner_text()
    page.go_back()
    row(page, task_id).wait_for()
    assert page.input_value(".find input") == "queue:typed"
    page.go_forward()
    page.wait_for_selector('[role="alert"]')


def test_who_may_only_read_has_no_buttons(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform))
    page = visit(f"tasks/{task_id}", scope="read")
    assert page.locator("main button:not([data-copy])").count() == 0
    assert "read only" in page.locator(".who").inner_text()


def test_paused_means_paused(house: House, visit: Open) -> None:
    page = visit("tasks?q=queue:still", lang="zh")
    page.wait_for_selector('#live[data-state="live"]')
    assert page.locator("#live").inner_text() == "实时"
    page.keyboard.press("r")
    assert page.locator("#live").inner_text() == "已暂停"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    new = house.run(submit(house.platform, queue="still"))
    house.run(house.app.state.dashboard.pulse.look())
    page.wait_for_timeout(1_500)
    assert asked == []
    page.keyboard.press("r")
    row(page, new).wait_for()


def test_a_server_that_is_away_takes_nothing_and_comes_back(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform, queue="away"))
    page = visit("tasks?q=queue:away", lang="zh", errors=True)
    row(page, task_id).wait_for()
    page.context.set_offline(True)
    page.wait_for_selector('#live[data-state="lost"]')
    assert page.locator("#live").inner_text() == "已断开"
    assert row(page, task_id).is_visible()
    new = house.run(submit(house.platform, queue="away"))
    page.context.set_offline(False)
    row(page, new).wait_for()
    page.wait_for_selector('#live[data-state="live"]')


def test_a_session_that_ends_in_the_middle(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform))
    page = visit(f"tasks/{task_id}", errors=True)
    house.run(house.platform.database.pool.execute("delete from taskmill.dashboard_sessions"))
    page.click("button.danger")
    page.wait_for_selector("#api_key")
    page.fill("#api_key", house.keys["write"])
    page.click("button.primary")
    page.wait_for_selector("main .state.available")
    assert page.url.endswith(f"/tasks/{task_id}")


def test_the_keyboard_is_enough(house: House, visit: Open) -> None:
    ids = [house.run(submit(house.platform, queue="keys")) for _ in range(3)]
    page = visit("tasks?q=queue:keys")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for key in ("j", "j", "k", "x", "j", "x"):
        page.keyboard.press(key)
    assert row(page, ids[2]).locator("input").is_checked()
    assert row(page, ids[1]).locator("input").is_checked()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#task-id:text('{ids[0]}')")
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_selector("h1:text('Queues')")
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help[open]", state="detached")


def test_language_and_theme_are_switched_where_one_is(house: House, visit: Open) -> None:
    page = visit("tasks?q=queue:none", lang="zh")
    page.click("button[name=lang]")
    page.wait_for_selector("h1:text('Tasks')")
    assert page.input_value(".find input") == "queue:none"
    page.click("#theme")
    page.wait_for_selector("html[data-theme=light]")
    page.click("#theme")
    page.wait_for_selector("html[data-theme=dark]")
    dark = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
    assert dark == "dark"
    assert page.locator("html").get_attribute("lang") == "en"


def test_twelve_tabs_share_one_stream(house: House, visit: Open) -> None:
    first = visit("tasks?q=queue:tabs")
    pages = [first, *(first.context.new_page() for _ in range(11))]
    for page in pages[1:]:
        page.goto(first.url)
    for page in pages:
        page.wait_for_selector('#live[data-stream="open"]')
    assert house.app.state.dashboard.pulse.watchers() == 1
    new = house.run(submit(house.platform, queue="tabs"))
    row(pages[-1], new).wait_for()


def test_log_out(house: House, visit: Open) -> None:
    page = visit("tasks")
    page.click(".who button")
    page.wait_for_selector("#api_key")
    page.goto(house.url + "/dashboard/queues")
    page.wait_for_selector("#api_key")


def test_a_copy_is_exact(house: House, visit: Open) -> None:
    task_id = house.run(submit(house.platform))
    page = visit(f"tasks/{task_id}")
    page.click("[data-copy]")
    assert page.evaluate("navigator.clipboard.readText()") == task_id


def test_below_a_path_behind_a_proxy_that_ends_tls(house: House, visit: Open, tmp_path: Path) -> None:
    task_id = house.run(submit(house.platform, queue="behind"))
    with proxied(house, tmp_path) as base:
        page = visit("tasks?q=queue:behind", base=base, errors=True)
        row(page, task_id).locator("a.open").click()
        page.wait_for_selector(f"#task-id:text('{task_id}')")
        assert re.fullmatch(rf"{re.escape(base)}/dashboard/tasks/{task_id}", page.url)
        page.wait_for_selector('#live[data-stream="open"]')
        page.click("button.danger")
        page.wait_for_selector("main .state.cancelled")
        for link in page.locator(".rail a").all():
            assert str(link.evaluate("e => e.href")).startswith(f"{base}/dashboard/")
        [cookie] = [each for each in page.context.cookies() if each["name"] == "taskmill_session"]
        assert (cookie["path"], cookie["secure"], cookie["httpOnly"]) == ("/x/y/dashboard", True, True)
        page.click(".rail a:nth-child(5)")
        page.wait_for_selector("h1:text('Queues')")
        page.click("button[name=lang]")
        page.wait_for_selector("h1:text('队列')")
        page.context.close()
