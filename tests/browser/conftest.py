"""A real Chromium before a real server. `make test/browser` installs what is missing; without it these tests are left out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import databases
from tests.support.servers import HasUrl

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.house import House

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = ROOT / ".cache" / "browser" / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
collect_ignore_glob = [] if CHROMIUM and find_spec("playwright") else ["test_*.py"]
Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def house(postgres_server: HasUrl, database_template: str, taskmill_broker_url: str) -> Iterator[House]:
    """The application with a database of its own."""
    from tests.browser.house import standing

    with databases.temporary_database(postgres_server.url, template=database_template) as url:
        with standing(url, taskmill_broker_url) as found:
            yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(house: House, browser: Browser) -> Iterator[Open]:
    """`visit("tasks", lang=…, theme=…, width=…, scope=…, base=…)`: a page of a new browser, logged in, seen by nobody before.

    At the end no page has said an error or asked another host for anything.
    """
    wrong: list[str] = []
    with ExitStack() as stack:

        def go(
            path: str = "",
            *,
            lang: str = "en",
            theme: str = "light",
            width: int = 1280,
            scope: str | None = "write",
            base: str | None = None,
            errors: bool = False,
        ) -> Page:
            root = f"{base or house.url}/dashboard/"
            context = browser.new_context(
                viewport={"width": width, "height": 900},
                locale="zh-CN" if lang == "zh" else "en-US",
                color_scheme=theme,  # type: ignore[arg-type] # 只有两种
                ignore_https_errors=True,
                permissions=["clipboard-read", "clipboard-write"],
            )
            stack.callback(context.close)
            context.set_default_timeout(20_000)
            host = root.split("/")[2]
            context.on("request", lambda asked: wrong.append(asked.url) if asked.url.split("/")[2] != host else None)
            context.on("weberror", lambda error: wrong.append(str(error.error)))
            if not errors:
                context.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
            page = context.new_page()
            if scope is not None:
                page.goto(f"{root}login?next={path.partition('?')[0]}")
                page.fill("#api_key", house.keys[scope])
                page.click("button.primary")
                page.wait_for_selector(".rail")
            if scope is None or "?" in path:
                page.goto(root + path)
            return page

        yield go
    assert wrong == []


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """`axe(page)`: what axe-core finds wrong, a line each."""
    source = AXE.read_text(encoding="utf-8")
    assert hashlib.sha256(source.encode()).hexdigest() == AXE_SHA256

    def find(page: Page) -> list[str]:
        # 页面的策略不许行内脚本：从调试协议里放进去
        page.evaluate(source)
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found: dict[str, Any] = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", tags)
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    return find
