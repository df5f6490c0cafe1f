"""What a visitor does: with token and permission only, one or the selected after a look, and undone where that is possible."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar import Litestar

from taskmill.dashboard import constants as dc
from taskmill.dashboard.handlers import task_actions
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleRequest, ScheduleService
from taskmill.services.tasks.service import TaskService
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.services.tasks.view import TaskState
from taskmill.states import State
from tests.support import api
from tests.support.dashboard import PAGES, Visitor

pytestmark = pytest.mark.anyio
NOBODY = "0189abcd-0000-7000-8000-000000000000"


async def submit(platform: Platform, **fields: Any) -> str:
    return str((await platform.submit.submit(SubmitRequest(kind=api.KIND, **fields))).id)


async def state_of(platform: Platform, task_id: str) -> str:
    statement = (
        "select state from taskmill.tasks where id = $1 union all select state from taskmill.task_history where id = $1"
    )
    found: str = await platform.database.pool.fetchval(statement, task_id)
    return found


@pytest.fixture
async def everything(platform: Platform) -> list[str]:
    """One of each thing that can be acted on, and all addresses that act."""
    task_id = await submit(platform)
    schedule = await ScheduleService(platform.database, platform.submit).create(
        ScheduleRequest(name="often", kind=api.KIND, interval_s=3_600)
    )
    return [
        *(f"tasks/{task_id}/{name}" for name in ("cancel", "retry", "skip")),
        "tasks/selected",
        *(f"queues/default/{name}" for name in ("pause", "resume")),
        *(f"schedules/{schedule.id}/{name}" for name in ("pause", "resume", "run")),
    ]


async def _facts(platform: Platform) -> list[Any]:
    """What an action could have changed; tickets come by themselves, a little later."""
    pool = platform.database.pool
    return [
        await pool.fetch("select id, state, cancel_requested_at from taskmill.tasks order by 1"),
        *[
            await pool.fetch(f"select * from taskmill.{table} order by 1")
            for table in ("task_history", "queues", "schedules")
        ],
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"X_CSRF_Token": ""},
        {"X_CSRF_Token": "0" * 64},
        {"X_CSRF_Token": "\u00e9"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_nothing_is_done_without_the_token_or_from_another_site(
    platform: Platform, me: Visitor, everything: list[str], headers: dict[str, str]
) -> None:
    before = await _facts(platform)
    given = {name: value.encode() if not value.isascii() else value for name, value in headers.items()}
    for path in [*everything, "logout"]:
        answer = await me.post(path, {"id": str(uuid4()), "action": "cancel"}, **given)  # type: ignore[arg-type]
        assert (answer.status_code, "CSRF_INVALID" in answer.text) == (403, True), path
    assert await _facts(platform) == before
    assert (await me.get("tasks")).status_code == 200


async def test_another_site_cannot_log_somebody_in(platform: Platform, app: Litestar) -> None:
    key = await platform.keys.create("k")
    answer = await Visitor(app).login(key.secret, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert dc.COOKIE not in answer.cookies


async def test_who_may_only_read_sees_no_button_and_is_refused(
    platform: Platform, reader: Visitor, everything: list[str]
) -> None:
    before = await _facts(platform)
    for path in everything:
        answer = await reader.post(path, {"id": str(uuid4()), "action": "cancel"})
        assert (answer.status_code, "FORBIDDEN" in answer.text) == (403, True), path
    assert await _facts(platform) == before
    task = everything[0].rpartition("/")[0]
    for path in [*PAGES, "queues/default", task]:
        text = (await reader.get(path)).text
        posts = set(re.findall(r'hx-post="([^"]+)"', text)) - {"./logout", "../logout"}
        assert posts <= {"./tasks/selected"}, path
        assert 'name="action"' not in text
        assert 'type="checkbox"' not in text
    assert (await reader.post("logout")).status_code == 200


async def test_a_task_is_cancelled_and_brought_back(platform: Platform, me: Visitor) -> None:
    task_id = await submit(platform)
    answer = await me.post(f"tasks/{task_id}/cancel")
    assert (answer.status_code, answer.headers["hx-trigger"]) == (200, "changed")
    assert await state_of(platform, task_id) == State.CANCELLED
    undo = re.search(r'hx-post="([^"]+)"', answer.text)
    assert undo is not None
    assert undo[1] == f"../tasks/{task_id}/retry"
    assert (await me.post(f"tasks/{task_id}/retry")).status_code == 200
    assert await state_of(platform, task_id) == State.AVAILABLE


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("./", "./"),
        ("../", "../"),
        ("https://evil.example/", "../../"),
        ("//x/", "../../"),
        ("../" * 9, "../../"),
        ("javascript:", "../../"),
    ],
)
async def test_an_answer_links_from_where_it_is_shown(platform: Platform, me: Visitor, given: str, base: str) -> None:
    task_id = await submit(platform)
    answer = await me.post(f"tasks/{task_id}/cancel", Taskmill_Base=given)
    assert f'hx-post="{base}tasks/{task_id}/retry"' in answer.text


async def test_a_running_task_is_asked_to_end_and_cannot_be_undone(platform: Platform, me: Visitor) -> None:
    task_id = await submit(platform)
    await api.make_running(platform, task_id, uuid4())
    answer = await me.post(f"tasks/{task_id}/cancel")
    assert "was asked to end" in answer.text
    assert "hx-post" not in answer.text


@pytest.mark.parametrize(("action", "code"), [("retry", "TASK_NOT_RETRYABLE"), ("skip", "TASK_NOT_SKIPPABLE")])
async def test_what_the_state_forbids_is_told_in_place(platform: Platform, me: Visitor, action: str, code: str) -> None:
    answer = await me.post(f"tasks/{await submit(platform)}/{action}")
    assert (answer.status_code, code in answer.text, "<html" in answer.text) == (409, True, False)


async def test_the_selected_are_shown_before_anything_happens(platform: Platform, me: Visitor) -> None:
    live = [await submit(platform) for _ in range(dc.SAMPLE + 1)]
    done = await submit(platform)
    await api.finish(platform, done, State.COMPLETED)
    form = {"action": "cancel", "id": [*live, done, str(uuid4())]}
    shown = await me.post("tasks/selected", form)
    assert shown.status_code == 200
    assert f"Cancel {len(live)} tasks?" in shown.text
    assert "2 more are selected" in shown.text
    assert shown.text.count("<li>") == dc.SAMPLE + 1  # 样本，与「还有」
    assert {await state_of(platform, each) for each in live} == {State.AVAILABLE}
    answer = await me.post("tasks/selected", {**form, "confirmed": "yes"})
    assert f"Cancelled {len(live)} of {len(live) + 2}" in answer.text
    assert {await state_of(platform, each) for each in live} == {State.CANCELLED}
    assert await state_of(platform, done) == State.COMPLETED


async def test_a_server_that_goes_away_in_between_stops_the_rest_and_all_is_told(
    platform: Platform, me: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await submit(platform) for _ in range(4)]
    real, asked = TaskService.cancel, list[UUID]()

    async def away_at_the_third(self: TaskService, task_id: UUID) -> TaskState:
        asked.append(task_id)
        if len(asked) == 3:
            raise ConnectionRefusedError
        return await real(self, task_id)

    monkeypatch.setitem(task_actions.ACTIONS, "cancel", replace(task_actions.ACTIONS["cancel"], work=away_at_the_third))
    answer = await me.post("tasks/selected", {"action": "cancel", "id": ids, "confirmed": "yes"})
    assert "Cancelled 2 of 4" in answer.text
    assert ids[2][-8:] in answer.text
    states = [await state_of(platform, each) for each in ids]
    assert states == [State.CANCELLED, State.CANCELLED, State.AVAILABLE, State.AVAILABLE]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"action": "cancel"}, 422),
        ({"action": "cancel", "id": ["x", "\x00"]}, 422),
        ({"action": "cancel", "id": [str(UUID(int=n)) for n in range(dc.SELECTED_MAX + 1)]}, 422),
        ({"action": "explode", "id": [NOBODY]}, 404),
        ({}, 404),
    ],
)
async def test_a_selection_that_makes_no_sense(me: Visitor, form: dict[str, Any], status: int) -> None:
    assert (await me.post("tasks/selected", form)).status_code == status


async def test_a_form_is_small_and_url_encoded(me: Visitor) -> None:
    assert (await me.post("tasks/selected", {"x": "y" * dc.FORM_MAX_BYTES})).status_code == 413
    headers = {"X-CSRF-Token": me.csrf, "HX-Request": "true"}
    answer = await me.client.post("/dashboard/tasks/selected", json={}, headers=headers)
    assert answer.status_code == 415


async def test_pause_and_resume_undo_each_other(platform: Platform, me: Visitor, everything: list[str]) -> None:
    for place in ("queues/default", everything[-1].rpartition("/")[0]):
        for action, opposite in (("pause", "resume"), ("resume", "pause")):
            answer = await me.post(f"{place}/{action}")
            assert answer.status_code == 200
            assert f'hx-post="../{place}/{opposite}"' in answer.text
    await me.post("queues/default/pause")
    assert (await platform.queues.get("default")).paused_by.startswith("key:")  # type: ignore[union-attr]


async def test_a_schedule_runs_now(platform: Platform, me: Visitor, everything: list[str]) -> None:
    answer = await me.post(everything[-1])
    made = re.search(r'href="\.\./tasks/([0-9a-f-]{36})"', answer.text)
    assert made is not None
    assert await state_of(platform, made[1]) == State.AVAILABLE


@pytest.mark.parametrize(
    "path", ["tasks/x/cancel", "queues/nothing/pause", "schedules/nothing/run", "queues/default/explode"]
)
async def test_what_is_not_there_cannot_be_acted_on(me: Visitor, path: str) -> None:
    answer = await me.post(path)
    assert (answer.status_code, "<html" in answer.text) == (404, False)


@pytest.mark.parametrize(
    ("form", "cookie"),
    [
        ({"lang": "en", "next": "tasks?q=a"}, "taskmill_lang=en"),
        ({"theme": "dark"}, "taskmill_theme=dark"),
        ({"lang": "xx", "theme": "<b>"}, None),
    ],
)
async def test_language_and_theme_are_remembered(app: Litestar, form: dict[str, str], cookie: str | None) -> None:
    answer = await Visitor(app).client.post("/dashboard/preferences", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"./{form.get('next', '')}")
    assert (cookie in answer.headers.get("set-cookie", "")) if cookie else "set-cookie" not in answer.headers
