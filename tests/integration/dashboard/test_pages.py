"""Every page: in both languages, with the headers that keep it safe, and what is wrong told where one looks."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from litestar import Litestar

from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.dashboard import constants as dc
from taskmill.dashboard.handlers import tasks
from taskmill.services.dashboard.overview import Overview
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleRequest, ScheduleService
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from taskmill.stores.tasks.lists import page as lists
from tests.support import api
from tests.support.dashboard import PAGES, Visitor, visitor

pytestmark = pytest.mark.anyio
NOBODY = "0189abcd-0000-7000-8000-000000000000"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e\u2066gnp.exe 🎉 'quoted\" &amp; {{ 7*7 }}"
FOREIGN = re.compile(r"""(?:src|href|action)=["']?(?:[a-z]+:)?//""", re.IGNORECASE)
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|<style|javascript:", re.IGNORECASE)


async def submit(platform: Platform, **fields: Any) -> str:
    done = await platform.submit.submit(SubmitRequest(kind=api.KIND, **fields))
    return str(done.id)


@pytest.fixture
async def furnished(platform: Platform) -> dict[str, str]:
    """A task in each sort of state, a queue with limits that is paused, and two schedules."""
    ids = {state.value: await submit(platform, args={"text": state.value}) for state in (State.COMPLETED, State.DISCARDED)}
    await api.finish(platform, ids["completed"], State.COMPLETED, result=b'{"big": 12345678901234567890.5}')
    await api.finish(platform, ids["discarded"], State.DISCARDED)
    ids["available"] = await submit(platform, queue="mail", tags=["a-b"])
    ids["running"] = await submit(platform)
    await api.make_running(platform, ids["running"], uuid4())
    await platform.queues.put("mail", QueuePolicyChange(max_running=3, rate=Rate(limit=5, period_s=60), retention_s=60))
    await platform.queues.pause("mail", by="somebody")
    schedules = ScheduleService(platform.database, platform.submit)
    await schedules.create(ScheduleRequest(name="nightly", kind=api.KIND, cron="0 8 * * *", timezone="Asia/Shanghai"))
    await schedules.pause(str((await schedules.create(ScheduleRequest(name="often", kind=api.KIND, interval_s=20))).id))
    return ids


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_each_page_is_whole_and_safe(platform: Platform, app: Litestar, furnished: dict[str, str], lang: str) -> None:
    me = await visitor(platform, app, lang=lang)
    for path in [*PAGES, "queues/mail", *(f"tasks/{each}" for each in furnished.values())]:
        whole, bare = await me.get(path), await me.get(path, HX_Request="true")
        assert (whole.status_code, bare.status_code) == (200, 200), path
        assert f'<html lang="{"zh-CN" if lang == "zh" else "en"}"' in whole.text
        assert "<html" not in bare.text
        assert "<h1" in bare.text
        assert whole.headers["content-security-policy"].startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in whole.headers["content-security-policy"]
        assert whole.headers["x-frame-options"] == "DENY"
        assert whole.headers["cache-control"] == "private, no-cache"
        assert not FOREIGN.search(whole.text), path
        assert not INLINE.search(whole.text), path
        assert not re.search(r'(?:href|action|src|hx-post)="/', whole.text), f"{path}: not relative"


@pytest.mark.parametrize("path", ["", "tasks", "queues", "queues/mail", "schedules", "plugins"])
async def test_what_did_not_change_is_not_sent_again(me: Visitor, furnished: dict[str, str], path: str) -> None:
    await me.post("queues/mail/resume")
    for _ in range(5):  # 等了多久以秒计：两次之间也许正好过了一秒
        first = await me.get(path, HX_Request="true")
        again = await me.get(path, HX_Request="true", If_None_Match=first.headers["etag"])
        if again.status_code == 304:
            break
    assert (again.status_code, again.content) == (304, b"")
    await me.post("queues/mail/pause")
    if path in {"", "queues", "queues/mail"}:
        assert (await me.get(path, HX_Request="true", If_None_Match=first.headers["etag"])).status_code == 200


async def test_lists_count_nothing(me: Visitor, furnished: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(lists, "fetch_page", counted)
    for path in ("tasks", "tasks?q=state:discarded", ""):
        assert (await me.get(path)).status_code == 200


async def test_one_sum_is_computed_for_all(
    platform: Platform, app: Litestar, me: Visitor, reader: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = 0
    real = Overview._sum

    async def summed(self: Overview) -> Any:
        nonlocal sums
        sums += 1
        return await real(self)

    monkeypatch.setattr(Overview, "_sum", summed)
    monkeypatch.setattr("taskmill.services.dashboard.constants.SUMS_S", 3_600.0)
    app.state.dashboard.overview.forget()
    for each in (me, reader, me, reader):
        assert (await each.get("")).status_code == 200
    assert sums == 1


async def test_the_pages_of_a_list_follow_each_other(
    platform: Platform, me: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmill.dashboard.constants.PAGE_SIZE", 2)
    made = [await submit(platform) for _ in range(5)]
    path, seen = "tasks?q=", []
    while path:
        text = (await me.get(path)).text
        seen += re.findall(r'<tr id="t([0-9a-f-]{36})"', text)
        older = re.search(r'href="\./(tasks\?[^"]*cursor=[^"]*)"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == list(reversed(made))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("q=stat:running", ["stat:running at character 1", "did you mean state, started?"]),
        ("q=queue:a+state:runing", ["state:runing at character 9", "did you mean running?"]),
        ("q=mail", ["mail at character 1", "write key:value"]),
        ("q=queue:", ["nothing follows the colon"]),
        ("q=created:yesterday", ["write &gt;2h"]),
        ("q=queue:%22a", ["the quote is not closed"]),
        ("q=queue:a+queue:b", ["queue:b at character 9"]),
        ("q=-state:running", ["not supported yet"]),
        ("cursor=x", ["cursor"]),
        ("q=kind:%00", ["kind:"]),
        (f"q=queue:{'a' * 101}", ["at most 100 characters"]),
        ("q=created:%3E999999w", ["write &gt;2h"]),
        ("q=%3Cscript%3Ealert(1)%3C/script%3E", ["&lt;script&gt;"]),
    ],
)
async def test_a_filter_that_cannot_be_read_says_where_and_what(me: Visitor, query: str, told: list[str]) -> None:
    answer = await me.get(f"tasks?{query}")
    assert answer.status_code == 422
    for words in told:
        assert words in answer.text
    assert "<script>alert" not in answer.text


async def test_the_parameters_of_the_api_are_a_filter_too(me: Visitor, furnished: dict[str, str]) -> None:
    text = (await me.get("tasks?state=available,running&queue=mail&created_after=2000-01-01T00:00:00Z")).text
    assert 'value="state:available,running queue:mail created:&gt;2000-01-01T00:00:00Z"' in text
    assert furnished["available"] in text
    assert furnished["running"] not in text


@pytest.mark.parametrize("form", ["{}", "id:{}"])
async def test_an_id_leads_to_its_task(me: Visitor, furnished: dict[str, str], form: str) -> None:
    answer = await me.get(f"tasks?q={form.format(furnished['running'])}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"./tasks/{furnished['running']}")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nothing", 404, "ROUTE_NOT_FOUND"),
        (f"tasks/{NOBODY}", 404, "TASK_NOT_FOUND"),
        ("tasks/x", 404, "TASK_NOT_FOUND"),
        ("tasks/x%00", 404, "TASK_NOT_FOUND"),
        (f"tasks/{NOBODY}/nothing.json", 404, "ROUTE_NOT_FOUND"),
        (f"tasks/{NOBODY}/args.json", 404, "TASK_NOT_FOUND"),
        ("queues/nothing", 404, "QUEUE_NOT_FOUND"),
        ("queues/%00", 404, "QUEUE_NOT_FOUND"),
        ("queues?page=0", 422, "INVALID_REQUEST"),
        ("queues?page=x", 422, "INVALID_REQUEST"),
        ("workers?page=999999", 422, "INVALID_REQUEST"),
        ("static/../constants.py", 404, "ROUTE_NOT_FOUND"),
        ("static/vendor.lock", 404, "ROUTE_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_told_on_a_page(me: Visitor, path: str, status: int, code: str) -> None:
    answer = await me.get(path)
    assert answer.status_code == status
    assert code in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-request-id"] in answer.text


async def test_what_a_task_carries_is_shown_and_not_obeyed(platform: Platform, me: Visitor) -> None:
    task_id = await submit(platform, args={"text": HOSTILE.replace("\x1b", "")})
    await api.finish(platform, task_id, State.DISCARDED)
    for table, column, value in (
        (
            "task_history",
            "error",
            '{"type": "<b>T</b>", "message": "' + HOSTILE.replace("\x1b", "").replace('"', "'") + '"}',
        ),
        ("task_history", "result", '{"r": "' + HOSTILE.replace("\x1b", "").replace('"', "'") + '"}'),
        ("task_history", "created_by", HOSTILE),
        ("task_history", "unique_key", HOSTILE),
        ("task_history", "queue", HOSTILE),
        ("task_history", "kind", HOSTILE),
        ("task_attempts", "message", HOSTILE),
        ("task_attempts", "error_type", HOSTILE),
        ("task_attempts", "traceback", HOSTILE),
    ):
        cast = "::text::jsonb" if column in {"error", "result"} else ""
        given = value.encode() if cast else value
        statement = (
            f"update taskmill.{table} set {column} = convert_from($1, 'utf8')::jsonb"
            if cast
            else f"update taskmill.{table} set {column} = $1"
        )
        await platform.database.pool.execute(statement, given)
    await platform.database.pool.execute("update taskmill.task_history set tags = $1", [HOSTILE])
    for path in ("", "tasks", f"tasks/{task_id}"):
        text = (await me.get(path)).text
        assert "alert(1)" in text, path
        for bad in ("<script>alert", "<img src=x", "\x1b", "\u202e", "\u2066", "49"):
            assert bad not in re.sub(
                r"[0-9a-f]{8}-[0-9a-f-]{27}|v=[0-9a-f]{12}|[0-9a-f]{64}|>[0-9a-f]{8}<|20\d\d-[\dT:.Z -]+", "", text
            ), (path, bad)
        assert "🎉" in text


async def test_a_number_keeps_every_digit(me: Visitor, furnished: dict[str, str]) -> None:
    page = await me.get(f"tasks/{furnished['completed']}")
    assert "12345678901234567890.5" in page.text
    file = await me.get(f"tasks/{furnished['completed']}/result.json")
    assert file.content == b'{"big": 12345678901234567890.5}'
    assert file.headers["content-disposition"].startswith("attachment")


async def test_of_a_long_result_the_beginning_is_shown(platform: Platform, me: Visitor) -> None:
    task_id = await submit(platform)
    await api.finish(platform, task_id, State.COMPLETED, result=b'"' + b"x" * (1024 * 1024 - 2) + b'"')
    page = await me.get(f"tasks/{task_id}")
    assert len(page.content) < 100_000
    assert "download it for all" in page.text
    assert len((await me.get(f"tasks/{task_id}/result.json")).content) == 1024 * 1024


async def test_a_database_that_is_away_is_told(me: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(Overview, "get", away)
    whole, bare = await me.get("tasks"), await me.get("tasks", HX_Request="true")
    assert (whole.status_code, bare.status_code) == (503, 503)
    assert "DATABASE_UNAVAILABLE" in whole.text
    assert "<html" not in bare.text


async def test_static_files_are_kept_and_compressed(me: Visitor, app: Litestar) -> None:
    page = (await me.get("")).text
    names = set(re.findall(r'(?:src|href)="\./(static/[^"#]+)', page))
    assert {name.partition("?")[0] for name in names} >= {"static/app.css", "static/main.js", "static/vendor/htmx.min.js"}
    sizes = {"js": 0, "css": 0, "svg": 0}
    async with api.client(app) as anybody:
        for name in names:
            answer = await anybody.get(f"/dashboard/{name}", headers={"Accept-Encoding": "gzip"})
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")
            sizes[name.partition("?")[0].rpartition(".")[2]] += int(answer.headers["content-length"])
            plain = await anybody.get(f"/dashboard/{name}", headers={"Accept-Encoding": "identity"})
            assert plain.content == answer.content
            other = await anybody.get(f"/dashboard/{name}0")
            assert other.headers["cache-control"] == "no-store"
    assert sizes["js"] <= 45 * 1024
    assert sizes["css"] <= 15 * 1024


async def test_of_many_failed_attempts_the_newest_are_shown(platform: Platform, me: Visitor) -> None:
    task_id = (await platform.submit.submit(SubmitRequest(kind=api.KIND))).id
    await platform.database.pool.execute(
        "insert into taskmill.task_attempts (task_id, claim_no, attempt, cause, error_type, message, worker_id, started_at, finished_at) "
        "select $1, n, n, 'error', 'E', 'attempt number ' || n, $1, now(), now() from generate_series(1, $2) n",
        task_id,
        dc.ATTEMPTS_SHOWN + 2,
    )
    page = (await me.get(f"tasks/{task_id}")).text
    assert page.count('<details id="a') == dc.ATTEMPTS_SHOWN
    assert "attempt number 3" in page
    assert "attempt number 2<" not in page
    assert f"Only the newest {dc.ATTEMPTS_SHOWN} are shown" in page


@pytest.mark.parametrize(
    ("view", "shown"),
    [("view_failed", "discarded"), ("view_waiting", None), ("view_running", None), ("view_retrying", None)],
)
async def test_the_views_are_links_to_what_they_say(
    platform: Platform, me: Visitor, furnished: dict[str, str], view: str, shown: str | None
) -> None:
    asked = quote(tasks.VIEWS[view])
    page = await me.get(f"tasks?q={asked}")
    assert page.status_code == 200
    assert re.findall(r'<tr id="t([0-9a-f-]{36})"', page.text) == ([furnished[shown]] if shown else [])
    assert page.text.count('class="tag" href="./tasks?q=') >= len(tasks.VIEWS)
    assert page.text.count('aria-current="true"') >= 1
    await platform.database.pool.execute(
        "update taskmill.tasks set created_at = now() - interval '2 hours', started_at = started_at - interval '2 hours'"
    )
    later = {"view_waiting": "available", "view_running": "running"}.get(view, shown)
    found = re.findall(r'<tr id="t([0-9a-f-]{36})"', (await me.get(f"tasks?q={asked}")).text)
    assert found == ([furnished[later]] if later else [])
