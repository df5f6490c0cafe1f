"""The pages of failures: groups, one of them with what it stands for, and the way to its newest task."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from taskmill.stores.tasks import failures
from taskmill.stores.tasks.failures import Failed
from tests.support import api
from tests.support.dashboard import Visitor

pytestmark = pytest.mark.anyio
OTHER = "0" * 16
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"


async def fail(platform: Platform) -> tuple[str, str]:
    """One task that failed; returns its id and its group."""
    made = await platform.submit.submit(SubmitRequest(kind=api.KIND))
    await api.finish(platform, str(made.id), State.DISCARDED)
    [attempt] = await platform.tasks.attempts(made.id)
    assert attempt.fingerprint is not None
    return str(made.id), attempt.fingerprint


async def group(platform: Platform, number: int, *, kind: str = "k", queue: str = "q", name: str | None = None) -> str:
    made = Failed(name or f"{number:016x}", OTHER, kind, "E", f"m {number}", "f", queue, UUID(int=number))
    async with platform.database.transaction() as connection:
        await failures.count(connection, failures.together([made]))
    return made.fingerprint


async def test_a_group_shows_its_newest_attempt_and_leads_to_its_task(platform: Platform, me: Visitor) -> None:
    old, name = await fail(platform)
    new, same = await fail(platform)
    assert name == same
    listed = (await me.get("failures")).text
    assert f'href="./failures/{name}"' in listed
    assert "ValueError" in listed
    shown = (await me.get(f"failures/{name}")).text
    assert shown.index(new) < shown.index(old)
    assert "<pre>trace</pre>" in shown
    answer = await me.get(f"failures/{name}/newest")
    assert (answer.status_code, answer.headers["location"]) == (303, f"../../tasks/{new}")
    assert f'href="../failures/{name}"' in (await me.get(f"tasks/{new}")).text
    await platform.database.pool.execute("delete from taskmill.task_history")
    assert (await me.get(f"failures/{name}/newest")).headers["location"] == f"../../failures/{name}"
    assert "All of them are pruned" in (await me.get(f"failures/{name}")).text


async def test_the_rest_is_named_and_shows_an_attempt_of_any_group(platform: Platform, me: Visitor) -> None:
    task_id, name = await fail(platform)
    await platform.database.pool.execute(
        "update taskmill.failures set fingerprint = $1, error_type = '', message = '', frame = ''", OTHER
    )
    assert "The rest" in (await me.get("failures")).text
    shown = (await me.get(f"failures/{OTHER}")).text
    assert task_id in shown
    assert "trace</pre>" in shown
    assert name != OTHER


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", {1, 2, 3}),
        ("?kind=k", {1, 2}),
        ("?queue=mail", {2, 3}),
        ("?kind=k&queue=mail", {2}),
        ("?kind=nobody", set[int]()),
    ],
)
async def test_groups_of_a_kind_or_of_a_queue(platform: Platform, me: Visitor, query: str, told: set[int]) -> None:
    for number, kind, queue in ((1, "k", "q"), (2, "k", "mail"), (3, "other", "mail")):
        await group(platform, number, kind=kind, queue=queue)
    text = (await me.get(f"failures{query}")).text
    assert {int(found, 16) for found in re.findall(r'<tr id="f([0-9a-f]{16})"', text)} == told
    assert ("Nothing has failed" in text) == (not told)


async def test_the_pages_follow_each_other_with_what_was_asked(
    platform: Platform, me: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmill.dashboard.constants.PAGE_SIZE", 2)
    made = [await group(platform, number) for number in range(1, 6)]
    await group(platform, 9, kind="other")
    path, seen = "failures?kind=k", list[str]()
    while path:
        text = (await me.get(path)).text
        seen += re.findall(r'<tr id="f([0-9a-f]{16})"', text)
        older = re.search(r'href="\./(failures\?[^"]*cursor=[^"]*)"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == list(reversed(made))


async def test_what_a_failure_says_is_shown_and_not_obeyed(platform: Platform, me: Visitor) -> None:
    name = await group(platform, 1)
    await platform.database.pool.execute(
        "update taskmill.failures set kind = $1, error_type = $1, message = $1, frame = $1, queues = array[$1]", HOSTILE
    )
    for path in ("failures", f"failures/{name}"):
        text = (await me.get(path)).text
        assert "alert(1)" in text
        for bad in ("<script>alert", "\x1b", "\u202e"):
            assert bad not in text, path


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"failures/{'a' * 16}", 404, "FAILURE_NOT_FOUND"),
        (f"failures/{'a' * 16}/newest", 404, "FAILURE_NOT_FOUND"),
        ("failures/%00", 404, "FAILURE_NOT_FOUND"),
        ("failures?cursor=x", 422, "INVALID_REQUEST"),
        (f"failures?kind={'k' * 101}", 422, "INVALID_REQUEST"),
        ("failures?queue=%00", 422, "INVALID_REQUEST"),
    ],
)
async def test_what_is_not_there_is_told(me: Visitor, path: str, status: int, code: str) -> None:
    answer = await me.get(path)
    assert answer.status_code == status
    assert code in answer.text
