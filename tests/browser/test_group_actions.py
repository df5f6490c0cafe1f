"""A person retries a group of failures: the question, the answer, and what the page shows then; and who may not sees no button."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from taskmill.states import State
from tests.browser.furniture import submit
from tests.support import api

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Open
    from tests.browser.house import House


@pytest.fixture
def failed(house: House) -> tuple[str, list[str]]:
    """A group of its own with seven tasks that failed, and their ids."""
    ids = [house.run(submit(house.platform)) for _ in range(7)]
    pool = house.platform.database.pool
    name = UUID(ids[0]).hex[-16:]
    for each in ids:
        house.run(api.finish(house.platform, each, State.DISCARDED))
    house.run(
        pool.execute(
            "insert into taskmill.failures select $1, kind, error_type, message, frame, queues, first_at, now(), 7, $2 "
            "from taskmill.failures limit 1",
            name,
            [UUID(each) for each in ids],
        )
    )
    house.run(
        pool.execute(
            "update taskmill.task_attempts set fingerprint = $1 where task_id = any ($2)",
            name,
            [UUID(each) for each in ids],
        )
    )
    return name, ids


@pytest.mark.parametrize(
    ("lang", "theme", "width"), [("en", "light", 1280), ("zh", "dark", 360), ("en", "dark", 360), ("zh", "light", 1280)]
)
def test_a_group_is_retried_after_one_question(
    house: House,
    visit: Open,
    axe: Callable[[Page], list[str]],
    failed: tuple[str, list[str]],
    lang: str,
    theme: str,
    width: int,
) -> None:
    name, ids = failed
    page = visit(f"failures/{name}", lang=lang, theme=theme, width=width)
    button = page.get_by_role("button", name="重试这一组" if lang == "zh" else "Retry the group")
    cancel = page.get_by_role("button", name="取消这一组" if lang == "zh" else "Cancel the group")
    assert cancel.count() == 0
    button.click()
    dialog = page.locator("#dialog[open]")
    dialog.wait_for()
    assert ("重试 7 个任务？" if lang == "zh" else "Retry 7 tasks?") in dialog.inner_text()
    assert dialog.locator(".sample li").count() == 6
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#dialog [data-close]")
    assert page.locator("main .state.discarded").count() == 7
    button.click()
    page.click("#dialog button.primary")
    said = "重试了 7 个里的 7 个" if lang == "zh" else "Retried 7 of 7"
    page.wait_for_selector(f"#notice :text('{said}')")
    page.wait_for_function("() => document.querySelectorAll('main .state.available').length === 7")
    cancel.wait_for()
    assert button.count() == 0
    cancel.click()
    page.click("#dialog button.danger")
    page.wait_for_function("() => document.querySelectorAll('main .state.cancelled').length === 7")
    assert (button.count(), cancel.count()) == (0, 0)
    assert house.run(house.platform.tasks.get(UUID(ids[0]))).state is State.CANCELLED


def test_who_may_only_read_sees_no_button(visit: Open, failed: tuple[str, list[str]]) -> None:
    page = visit(f"failures/{failed[0]}", scope="read")
    page.wait_for_selector("main .state.discarded")
    assert page.locator("main button").count() == 0
