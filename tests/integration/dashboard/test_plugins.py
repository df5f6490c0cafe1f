"""What plugins add: pages and panels as data; one that raises, hangs, floods or sends HTML costs its own panel and nothing else."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from taskmill.api.app import create_app
from taskmill.plugin import Dashboard, Page, Panel, Row, TaskFacts, Words
from taskmill.plugin import constants as pc
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from tests.support import api
from tests.support.dashboard import Visitor, visitor
from tests.unit.plugin.plugins import plugin

pytestmark = pytest.mark.anyio
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e{{ 7*7 }}"
MIB = 1024 * 1024
ASKED = list[str]()


async def fine(facts: TaskFacts | None = None) -> list[Row]:
    ASKED.append("fine")
    about = "a page" if facts is None else f"{facts.kind} {facts.state} {facts.args['text']}"
    return [
        Row(Words("甲", "about"), about),
        Row("json", {"n": 12345678901234567890}, "json"),
        Row("code", "a\n  b", "code"),
    ]


async def raises(*_: Any) -> list[Row]:
    ASKED.append("raises")
    raise ValueError(SCRIPT)


async def hangs(*_: Any) -> list[Row]:
    await asyncio.Event().wait()
    return []


def blocks(*_: Any) -> list[Row]:
    threading.Event().wait(20)
    return []


async def exits(*_: Any) -> list[Row]:
    sys.exit("bye")


def exits_thread(*_: Any) -> list[Row]:
    sys.exit("bye")


def plain(*_: Any) -> list[Row]:
    return [Row("thread", threading.current_thread().name)]


async def floods(*_: Any) -> list[Row]:
    return [Row(SCRIPT * 100, "x" * MIB), Row("json", ["y" * MIB], "json"), *[Row(f"line {n}", "z") for n in range(1_000)]]


async def html(*_: Any) -> list[Row]:
    return [Row(SCRIPT, SCRIPT, "code"), Row("j", {SCRIPT: SCRIPT}, "json"), Row("t", SCRIPT)]


async def nonsense(*_: Any) -> Any:
    return "<b>rows</b>"


async def unencodable(*_: Any) -> list[Row]:
    return [Row("object", object(), "json")]


MAKERS: tuple[Callable[..., Any], ...] = (
    raises,
    hangs,
    blocks,
    exits,
    exits_thread,
    html,
    nonsense,
    unencodable,
    plain,
    fine,
)


def adding(name: str, added: Dashboard) -> Any:
    def taskmill_dashboard() -> Dashboard:
        return added

    return plugin(name, taskmill_dashboard)


def panel(make: Callable[..., Any], kinds: tuple[str, ...] = ()) -> Panel:
    return Panel(Words(f"面板 {make.__name__}", f"Panel {make.__name__}"), make, kinds)


def bad() -> Any:
    """A plugin that does everything wrong, on a page and on that of a task, with one panel that is fine."""
    page = Page("page", Words("坏页", "Bad page"), [panel(make) for make in MAKERS])
    return adding("bad", Dashboard(pages=[page], task_panels=[panel(make) for make in MAKERS]))


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    other = adding("other", Dashboard(task_panels=[panel(fine, (api.KIND,)), panel(raises, ("shop.bill",))]))
    flooding = Dashboard(pages=[Page("page", Words("多", "Much"), [panel(floods)])], task_panels=[panel(floods)])
    plugins = {"bad": bad(), "other": other, "floods": adding("floods", flooding)}
    async with api.opened(database_url, broker_url, plugins=plugins) as found:
        yield found


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pc, "PANEL_TIMEOUT_S", 0.5)
    ASKED.clear()


async def submit(platform: Platform, **args: Any) -> str:
    return str((await platform.submit.submit(SubmitRequest(kind=api.KIND, args=args))).id)


def shown(text: str) -> dict[str, str]:
    """Return the panels of plugins of a page by their titles."""
    sections = re.findall(r'<section class="panel" id="x\d+">(.*?)</section>', text, flags=re.DOTALL)
    return {re.sub(r"\s*<small.*", "", re.findall(r"<h2>(.*?)</h2>", each, re.DOTALL)[0]): each for each in sections}


@contextmanager
def told() -> Iterator[list[str]]:
    found = list[str]()
    with capture_logs() as lines:
        yield found
    found += [f"{line.get('plugin')}: {line.get('panel')}" for line in lines if line["event"] == "插件的面板没有给出"]


@pytest.mark.parametrize("where", ["plugin/bad/page", "task"])
async def test_a_panel_that_misbehaves_costs_itself_and_says_so(platform: Platform, me: Visitor, where: str) -> None:
    path = f"tasks/{await submit(platform, text='hello')}" if where == "task" else where
    with told() as logged:
        answer = await me.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    panels = shown(answer.text)
    assert set(panels) >= {f"Panel {make.__name__}" for make in MAKERS}
    wrong = {
        "raises": "ValueError: &lt;script&gt;",
        "hangs": "no answer within 0.5 s",
        "blocks": "no answer within 0.5 s",
        "exits": "SystemExit: bye",
        "exits_thread": "SystemExit: bye",
        "nonsense": "the panel returned str, not a list of Row",
        "unencodable": "TypeError",
    }
    for name, words in wrong.items():
        assert words in panels[f"Panel {name}"]
        assert "The plugin did not give this" in panels[f"Panel {name}"]
    assert {f"bad: Panel {name}" for name in wrong} == set(logged)
    assert "12345678901234567890" in panels["Panel fine"]
    assert (f"{api.KIND} available hello" if where == "task" else "a page") in panels["Panel fine"]
    assert "panel" in panels["Panel plain"]
    assert "by the plugin bad" in panels["Panel html"]


@pytest.mark.parametrize("where", ["plugin/bad/page", "task"])
async def test_a_panel_is_bounded_and_nothing_in_it_is_obeyed(platform: Platform, me: Visitor, where: str) -> None:
    path = f"tasks/{await submit(platform, text='hello')}" if where == "task" else where
    text = (await me.get(path)).text
    panels = shown(text)
    if where != "task":
        panels |= shown((await me.get("plugin/floods/page")).text)
    assert len(text) < 3 * pc.PANEL_MAX_CHARS
    flood = panels["Panel floods"]
    assert flood.count("<dt>") == pc.PANEL_ROWS_MAX
    assert len(flood) < pc.PANEL_MAX_CHARS + pc.PANEL_ROWS_MAX * 1_000
    assert "this is the beginning" in flood
    assert "&lt;script&gt;" in panels["Panel html"]
    for never in ("<script>alert", "<img src=x", "\x1b", "\u202e", "<b>rows</b>", ">49<"):
        assert never not in text


async def test_what_keeps_failing_is_left_alone_for_a_while(platform: Platform, me: Visitor) -> None:
    for _ in range(pc.PLUGIN_BREAKER_FAILURES + 2):
        panels = shown((await me.get("plugin/bad/page")).text)
    assert ASKED.count("raises") == pc.PLUGIN_BREAKER_FAILURES
    assert ASKED.count("fine") == pc.PLUGIN_BREAKER_FAILURES + 2
    assert "it keeps failing" in panels["Panel raises"]


@pytest.mark.parametrize(("lang", "title", "said"), [("zh", "坏页", "面板 fine"), ("en", "Bad page", "Panel fine")])
async def test_the_rail_leads_to_the_page_in_both_languages(
    platform: Platform, app: Any, lang: str, title: str, said: str
) -> None:
    me = await visitor(platform, app, lang=lang)
    rail = (await me.get("tasks")).text.split("</nav>")[0]
    assert re.findall(r'<a class="of-plugin" href="(\./plugin/bad/page)"', rail) == ["./plugin/bad/page"]
    assert title in rail
    page = await me.get("plugin/bad/page")
    assert 'href="../../plugin/bad/page" aria-current="page"' in page.text
    assert said in shown(page.text)
    assert "<html" not in (await me.get("plugin/bad/page", HX_Request="true")).text
    await me.client.aclose()


async def test_the_page_of_plugins_says_who_adds_what(me: Visitor) -> None:
    text = (await me.get("plugins")).text
    cards = {name: text.split(f'id="p-{name}"')[1].split("</section>")[0] for name in ("bad", "other", "shell")}
    assert 'href="./plugin/bad/page"' in cards["bad"]
    assert "Panel fine on the page of a task" in cards["other"]
    assert "Adds to the dashboard" not in cards["shell"]


async def test_a_panel_is_for_its_kinds_and_for_who_may_read(platform: Platform, me: Visitor, app: Any) -> None:
    text = (await me.get(f"tasks/{await submit(platform, text='a')}")).text
    assert text.count("by the plugin other") == 1
    for path in ("plugin/bad/nothing", "plugin/nobody/page"):
        answer = await me.get(path)
        assert (answer.status_code, "ROUTE_NOT_FOUND" in answer.text) == (404, True)
    async with api.client(app) as stranger:
        assert (await stranger.get("/dashboard/plugin/bad/page")).status_code == 303


async def test_request_and_answer_of_a_task_of_http(database_url: str, broker_url: str) -> None:
    settings = api.settings(database_url, broker_url, plugins_allow=["http"])
    await api.partitions(database_url)
    platform = await Platform.open(settings, PluginHost.load(settings, env={}))
    try:
        me = await visitor(platform, create_app(platform))
        headers = {"Authorization": "Bearer hunter2", "X-Api-Key": "secret:ORDERS", "Accept": "text/plain"}
        args = {
            "url": "https://api.example.com/orders?token=hunter3&page=2",
            "method": "POST",
            "json": {"password": "hunter4", "id": 7},
        }
        ids = [
            str((await platform.submit.submit(SubmitRequest(kind="http.request", args=args | {"headers": headers}))).id)
            for _ in range(3)
        ]
        answer = b'{"status": 201, "url": "https://api.example.com/orders", "headers": {"ETag": "x1"}, "body": "{\\"made\\": 7}", "truncated": false, "elapsed_ms": 88}'
        await api.finish(platform, ids[0], State.COMPLETED, result=answer)
        await api.finish(platform, ids[1], State.DISCARDED)
        panels = [shown((await me.get(f"tasks/{each}")).text)["Request and answer"] for each in ids]
        await me.client.aclose()
    finally:
        await platform.close()
    for each in panels:
        assert "POST https://api.example.com/orders?token=***&amp;page=2" in each
        assert "secret:ORDERS" in each
        assert "text/plain" in each
        assert "hunter" not in each
    assert "201 after 88 ms" in panels[0]
    assert "&#34;made&#34;: 7" in panels[0]
    assert "Last attempt" in panels[1]
    assert "none yet" in panels[2]
