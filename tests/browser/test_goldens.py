"""The main pages look as they did: fixed data, texts that change made constant, and the picture compared by blocks with a tolerance.

A golden is text: a line for a row of blocks, a character for the brightness of one, so that other fonts and edges change little
and a panel that is gone, a theme or a stylesheet changes much. `TASKMILL_TEST_GOLDENS=write` writes them anew; look at
`.cache/browser/shots` before you commit them.
"""

from __future__ import annotations

import base64
import os
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.furniture import furnish
from tests.browser.test_looks import SHOTS
from tests.support import databases
from tests.support.servers import HasUrl

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.house import House

GOLDENS = Path(__file__).parent / "golden"
WRITE = os.environ.get("TASKMILL_TEST_GOLDENS") == "write"
LEVELS = string.digits + string.ascii_uppercase + string.ascii_lowercase + "+-"
STEP, SHARE = 3, 0.01  # 一块差多少级才算不同；多少块不同才算变了样（两次之间实测至多 0.04 %）
PAGES = {
    "overview": "",
    "tasks": "tasks",
    "task": "tasks/{discarded}",
    "failures": "failures",
    "queue": "queues/mail",
    "schedules": "schedules",
    "plugins": "plugins",
}
# 时刻、编号、测出来的数与图：每次不同，与样子无关
STILL = """() => {
  for (const each of document.querySelectorAll("time")) each.textContent = "12:00";
  for (const each of document.querySelectorAll("code")) each.textContent = each.textContent.replace(/[0-9a-f-]{8,}/g, "0189abcd");
  for (const each of document.querySelectorAll(".facts dd, .muted, td.num, .fires")) each.textContent = "1";
  for (const each of document.querySelectorAll("svg.chart")) each.style.visibility = "hidden";
}"""
BLOCKS = """async ([encoded, size, levels]) => {
  const bytes = Uint8Array.from(atob(encoded), c => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  const rows = [];
  for (let top = 0; top + size <= image.height; top += size) {
    let row = "";
    for (let left = 0; left + size <= image.width; left += size) {
      const data = context.getImageData(left, top, size, size).data;
      let sum = 0;
      for (let i = 0; i < data.length; i += 4) sum += 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
      row += levels[Math.min(63, Math.floor(sum / (data.length / 4) / 4))];
    }
    rows.push(row);
  }
  return rows.join("\\n") + "\\n";
}"""
Look = Callable[[str, str, str], "Page"]


@pytest.fixture(scope="module")
def still(
    postgres_server: HasUrl, database_template: str, taskmill_broker_url: str
) -> Iterator[tuple[House, dict[str, str]]]:
    """A house of its own: nobody else's tasks are in it."""
    from tests.browser.house import standing

    with databases.temporary_database(postgres_server.url, template=database_template) as url:
        with standing(url, taskmill_broker_url) as house:
            yield house, house.run(furnish(house.platform))


@pytest.fixture
def look(still: tuple[House, dict[str, str]], browser: Browser) -> Iterator[Look]:
    """`look(path, lang, theme)`: a page that stands still."""
    house, ids = still
    opened = []

    def go(path: str, lang: str, theme: str) -> Page:
        locale = "zh-CN" if lang == "zh" else "en-US"
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale=locale, color_scheme=theme)  # type: ignore[arg-type]
        opened.append(context)
        page = context.new_page()
        page.goto(f"{house.url}/dashboard/login")
        page.fill("#api_key", house.keys["write"])
        page.click("button.primary")
        page.wait_for_selector(".rail")
        page.goto(f"{house.url}/dashboard/{path.format(**ids)}")
        page.wait_for_selector('#live[data-stream="open"]')
        page.keyboard.press("r")  # 不再刷新
        page.wait_for_selector('#live[data-state="paused"]')
        page.evaluate(STILL)
        return page

    yield go
    for context in opened:
        context.close()


def blocks(page: Page, name: str) -> str:
    """Return the brightness of each block of what the page shows."""
    picture = page.screenshot(path=SHOTS / f"golden-{name}.png", animations="disabled")
    blank = page.context.new_page()
    told: str = blank.evaluate(BLOCKS, [base64.b64encode(picture).decode(), 20, LEVELS])
    blank.close()
    return told


def share(one: str, other: str) -> float:
    """Return which share of the blocks differs."""
    if len(one) != len(other):
        return 1.0
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != "\n"]
    return sum(abs(LEVELS.index(a) - LEVELS.index(b)) >= STEP for a, b in pairs) / len(pairs)


@pytest.mark.parametrize(("lang", "theme"), [("en", "light"), ("zh", "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_as_it_did(look: Look, name: str, lang: str, theme: str) -> None:
    seen = blocks(look(PAGES[name], lang, theme), f"{name}-{lang}-{theme}")
    golden = GOLDENS / f"{name}-{lang}-{theme}.txt"
    if WRITE:
        golden.write_text(seen, encoding="ascii")
    differs = share(golden.read_text("ascii"), seen)
    assert differs <= SHARE, f"{differs:.1%} of the blocks differ: look at {SHOTS.name}/golden-{name}-{lang}-{theme}.png"


@pytest.mark.parametrize(
    "harm",
    [
        "document.querySelector('link[rel=stylesheet]').remove()",
        "document.querySelector('.rail').remove()",
        "document.querySelector('main .panel').remove()",
        "document.documentElement.dataset.theme = 'dark'",
        "document.querySelector('.columns').style.display = 'block'",
        "document.querySelector('main').style.fontSize = '1.2em'",
    ],
    ids=["stylesheet", "rail", "panel", "theme", "columns", "size"],
)
def test_what_broke_would_be_seen(look: Look, harm: str) -> None:
    page = look(PAGES["overview"], "en", "light")
    page.evaluate(harm)
    assert share((GOLDENS / "overview-en-light.txt").read_text("ascii"), blocks(page, "harmed")) > SHARE
