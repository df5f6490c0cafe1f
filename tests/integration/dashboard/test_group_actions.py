"""Acting on the tasks of a group of failures: those that can be acted on and no others, after one question, so many at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from taskmill.stores.tasks import failures
from taskmill.stores.tasks.failures import Failed
from tests.support import api
from tests.support.dashboard import Visitor

pytestmark = pytest.mark.anyio
OTHER_WAY = "f" * 16
IDS = re.compile(r'name="id" value="([0-9a-f-]{36})"')
BUTTON = re.compile(r'hx-post="\.\./failures/[0-9a-f]{16}/([a-z]+)" hx-target="#dialog"')
STATE = "select state from taskmill.tasks where id = $1 union all select state from taskmill.task_history where id = $1"


class Group:
    """Tasks that failed in the same way, by what became of them later."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.name = ""
        self.made = 0

    async def task(self, later: str = "discarded") -> str:
        """One that failed; the later it is made, the later it failed."""
        made = await self.platform.submit.submit(SubmitRequest(kind=api.KIND))
        task_id = str(made.id)
        await api.finish(self.platform, task_id, State.DISCARDED)
        self.made += 1
        self.name = await self.platform.database.pool.fetchval(
            "update taskmill.task_attempts set finished_at = now() + $2 where task_id = $1 returning fingerprint",
            made.id,
            timedelta(milliseconds=self.made),
        )
        if later not in {"discarded", "pruned"}:
            await self.platform.tasks.retry(made.id)
        if later == "running":
            await api.make_running(self.platform, task_id, uuid4())
        elif later == "completed":
            await api.finish(self.platform, task_id, State.COMPLETED)
        elif later == "cancelled":
            await self.platform.tasks.cancel(made.id)
        elif later == "failed otherwise":
            await api.finish(self.platform, task_id, State.DISCARDED)
            await self.platform.database.pool.execute(
                "update taskmill.task_attempts set fingerprint = $2 where task_id = $1 and claim_no = 2", made.id, OTHER_WAY
            )
        elif later == "pruned":
            await self.platform.database.pool.execute("delete from taskmill.task_history where id = $1", made.id)
        return task_id

    async def states(self, ids: list[str]) -> list[str]:
        """What state each is in."""
        return [await self.platform.database.pool.fetchval(STATE, UUID(each)) for each in ids]


@pytest.fixture
def group(platform: Platform) -> Group:
    return Group(platform)


LATER = ("discarded", "available", "running", "completed", "cancelled", "failed otherwise", "pruned")


@pytest.mark.parametrize(
    ("action", "fits", "became", "said"),
    [
        ("retry", ("discarded",), ["available"], "Retried 1 of 1"),
        ("cancel", ("running", "available"), ["running", "cancelled"], "Cancelled 2 of 2"),
    ],
)
async def test_only_what_the_state_allows_is_acted_on(
    group: Group, me: Visitor, action: str, fits: tuple[str, ...], became: list[str], said: str
) -> None:
    ids = {later: await group.task(later) for later in LATER}
    before = await group.states([*ids.values()])
    shown = await me.post(f"failures/{group.name}/{action}")
    assert (shown.status_code, shown.headers.get("hx-trigger")) == (200, None)
    chosen = IDS.findall(shown.text)
    assert chosen == [ids[later] for later in fits]
    assert f"{action.capitalize()} {len(fits)} tasks?" in shown.text
    assert await group.states([*ids.values()]) == before
    form = {"action": action, "confirmed": "yes", "group": "yes", "id": chosen}
    answer = await me.post("tasks/selected", form)
    assert said in answer.text
    assert await group.states(chosen) == became
    rest = [each for each in ids.values() if each not in chosen]
    unchanged = [state for each, state in zip(ids.values(), before, strict=True) if each not in chosen]
    assert await group.states(rest) == unchanged
    if action == "cancel":
        asked = "select cancel_requested_at is not null from taskmill.tasks where id = $1"
        assert await group.platform.database.pool.fetchval(asked, UUID(ids["running"]))


async def test_so_many_at_once_the_newest_first_and_the_rest_at_the_next(
    group: Group, me: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmill.dashboard.constants.SELECTED_MAX", 3)
    ids = [await group.task() for _ in range(5)]
    first = await me.post(f"failures/{group.name}/retry")
    assert IDS.findall(first.text) == ids[:1:-1]
    assert "The group has more: 3 at a time" in first.text
    assert first.text.count("<li>") == 3
    form = {"action": "retry", "confirmed": "yes", "group": "yes"}
    assert "Retried 3 of 3" in (await me.post("tasks/selected", {**form, "id": ids[2:]})).text
    second = await me.post(f"failures/{group.name}/retry")
    assert IDS.findall(second.text) == ids[1::-1]
    assert "The group has more" not in second.text


async def test_a_sample_is_shown_of_many(group: Group, me: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmill.dashboard.constants.SAMPLE", 2)
    ids = [await group.task() for _ in range(4)]
    text = (await me.post(f"failures/{group.name}/retry")).text
    assert [each in re.sub(r"<input[^>]*>", "", text) for each in (ids[3][-8:], ids[2][-8:], ids[1][-8:])] == [
        True,
        True,
        False,
    ]
    assert text.count("<li>") == 3  # 样本，与「还有」


async def test_what_got_well_between_the_question_and_the_answer_is_left_alone(group: Group, me: Visitor) -> None:
    well, ill = await group.task(), await group.task()
    await me.post(f"failures/{group.name}/retry")
    await group.platform.tasks.retry(UUID(well))
    await api.finish(group.platform, well, State.COMPLETED)
    form = {"action": "retry", "confirmed": "yes", "group": "yes", "id": [well, ill]}
    assert "Retried 1 of 2" in (await me.post("tasks/selected", form)).text
    assert await group.states([well, ill]) == ["completed", "available"]


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (("discarded",), ["retry"]),
        (("available",), ["cancel"]),
        (("running", "discarded"), ["cancel", "retry"]),
        (("completed", "cancelled", "pruned"), []),
    ],
)
async def test_a_button_is_there_when_it_can_do_something(
    group: Group, me: Visitor, reader: Visitor, later: tuple[str, ...], told: list[str]
) -> None:
    for each in later:
        await group.task(each)
    assert sorted(BUTTON.findall((await me.get(f"failures/{group.name}")).text)) == told
    assert BUTTON.findall((await reader.get(f"failures/{group.name}")).text) == []


async def test_a_large_group_of_which_the_newest_got_well_still_has_its_buttons(
    group: Group, me: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmill.services.constants.GROUP_LOOKED", 1)
    ill = await group.task()
    await group.task("completed")
    assert sorted(BUTTON.findall((await me.get(f"failures/{group.name}")).text)) == ["cancel", "retry"]
    assert IDS.findall((await me.post(f"failures/{group.name}/retry")).text) == [ill]
    none = (await me.post(f"failures/{group.name}/cancel")).text
    assert "No task of the group is in a state where this applies now" in none
    assert "<button autofocus" not in none
    assert 'class="danger"' not in none


async def _rest(platform: Platform) -> str:
    made = Failed("0" * 16, "0" * 16, api.KIND, "", "", "", "q", uuid4())
    async with platform.database.transaction() as connection:
        await failures.count(connection, failures.together([made]))
    return made.fingerprint


async def test_the_rest_of_a_kind_cannot_be_acted_on(platform: Platform, me: Visitor) -> None:
    name = await _rest(platform)
    assert BUTTON.findall((await me.get(f"failures/{name}")).text) == []
    assert IDS.findall((await me.post(f"failures/{name}/retry")).text) == []


REFUSED: list[tuple[Callable[[str], str], dict[str, Any], int, str]] = [
    (lambda name: f"failures/{name}/skip", {}, 404, "ROUTE_NOT_FOUND"),
    (lambda name: f"failures/{name}/explode", {}, 404, "ROUTE_NOT_FOUND"),
    (lambda _: f"failures/{'a' * 16}/retry", {}, 404, "FAILURE_NOT_FOUND"),
    (lambda _: "failures/%00/retry", {}, 404, "FAILURE_NOT_FOUND"),
    (lambda name: f"failures/{name}/retry", {"X_CSRF_Token": "0" * 64}, 403, "CSRF_INVALID"),
    (lambda name: f"failures/{name}/retry", {"Sec_Fetch_Site": "cross-site"}, 403, "CSRF_INVALID"),
]


@pytest.mark.parametrize(("path", "headers", "status", "code"), REFUSED)
async def test_what_makes_no_sense_is_refused(
    group: Group, me: Visitor, path: Callable[[str], str], headers: dict[str, Any], status: int, code: str
) -> None:
    task_id = await group.task()
    answer = await me.post(path(group.name), **headers)
    assert (answer.status_code, code in answer.text) == (status, True)
    assert await group.states([task_id]) == ["discarded"]


async def test_who_may_only_read_is_refused(group: Group, reader: Visitor) -> None:
    task_id = await group.task()
    for path, form in (
        (f"failures/{group.name}/retry", {}),
        ("tasks/selected", {"action": "retry", "confirmed": "yes", "group": "yes", "id": task_id}),
    ):
        answer = await reader.post(path, form)
        assert (answer.status_code, "FORBIDDEN" in answer.text) == (403, True)
    assert await group.states([task_id]) == ["discarded"]
