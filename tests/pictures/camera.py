"""Takes the pictures in Chromium: one browser, logged in by the link, that looks as a person would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.pictures.shop import Shop

WIDTH, HEIGHT = 1280, 860
BYTES_MAX = 200 * 1024
Scene = Callable[["Page", "Shop"], None]


def overview(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.url}/dashboard/")


def task_dark(page: Page, shop: Shop) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{shop.url}/dashboard/tasks/{shop.flaky}")
    page.click("summary:has-text('Attempt 1 failed')")  # 回溯里是这台机器的路径
    page.evaluate("document.activeElement.blur()")


def late(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.url}/dashboard/tasks/{shop.waiting}")


def release(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.url}/dashboard/failures?kind=http.request")


def retry(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.url}/dashboard/tasks?q=state:discarded queue:webhooks")
    page.check("#all")
    page.click("button:has-text('Retry')")
    page.wait_for_selector("#dialog[open]")


def undo(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.url}/dashboard/queues/webhooks")
    page.click("main button:has-text('Pause')")
    page.wait_for_selector("#notice button:has-text('Undo')")
    page.wait_for_selector("main button:has-text('Resume')")


# 名字、怎么到那里、高度；会改动数据的排在后面
SCENES: tuple[tuple[str, Scene, int], ...] = (
    ("overview-light", overview, HEIGHT),
    ("task-dark", task_dark, 1_044),
    ("on-call-late", late, 780),
    ("on-call-release", release, 480),
    ("on-call-retry", retry, 640),
    ("on-call-undo", undo, HEIGHT),
)


def take(shop: Shop, folder: Path, wanted: set[str]) -> None:
    """Write the pictures, each below BYTES_MAX bytes."""
    folder.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--hide-scrollbars"])
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, locale="en-US", reduced_motion="reduce")
        page = context.new_page()
        page.goto(shop.link)
        page.wait_for_selector(".rail")
        for name, go, height in SCENES:
            if wanted and name not in wanted:
                continue
            page.emulate_media(color_scheme="light")
            page.set_viewport_size({"width": WIDTH, "height": height})
            go(page, shop)
            page.wait_for_selector("main h1")
            page.wait_for_selector('#live[data-stream="open"]')
            path = folder / f"{name}.png"
            page.screenshot(path=path, animations="disabled")
            size = path.stat().st_size
            assert size <= BYTES_MAX, (name, size)
            sys.stdout.write(f"{path.name}: {size // 1024} KiB\n")
        browser.close()
