"""The submit form: made of a kind's schema, for those who may submit, and what is wrong told where it was typed."""

from __future__ import annotations

import html
import re
from typing import Any
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar

from taskmill.dashboard import constants as dc
from taskmill.dashboard.handlers import submit as handler
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit import SubmitService
from tests.support import api
from tests.support.dashboard import Visitor, visitor
from tests.support.rich_kind import RICH, publish_rich

pytestmark = pytest.mark.anyio
PATH = f"tasks/new?kind={RICH}"
GOOD = {"kind": RICH, "args/text": "你好\r\n<b>", "args/order": "12345678901234567"}
ECHO = {"kind": api.KIND}


@pytest.fixture(autouse=True)
async def rich(platform: Platform) -> None:
    await publish_rich(platform)


async def stored(platform: Platform) -> list[Any]:
    names = "id, kind, queue, priority, state, args::text as args, created_by, run_at"
    return list(await platform.database.pool.fetch(f"select {names} from taskmill.tasks order by id"))


def wrong(text: str) -> dict[str, str]:
    """What is told at each field, by the name of its input."""
    found = re.findall(r'name="([^"]+)"[^>]*aria-describedby="[^"]* (e-[^"]+)" aria-invalid="true"', text)
    told = dict(re.findall(r'<p class="wrong" id="([^"]+)">(.*?)</p>', text))
    assert {said for _, said in found} == set(told)
    return {html.unescape(name): html.unescape(told[said]) for name, said in found}


async def test_a_task_is_submitted_and_led_to(platform: Platform, me: Visitor) -> None:
    form = GOOD | {"args/lines": "a\r\nb", "queue": "mail", "priority": "1", "run_at": "2099-01-02T03:04"}
    answer = await me.post("tasks/new", form)
    [task] = await stored(platform)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (200, f"../tasks/{task['id']}")
    assert (task["kind"], task["queue"], task["priority"], task["state"]) == (RICH, "mail", 1, "scheduled")
    assert msgspec.json.decode(task["args"]) == {"text": "你好\n<b>", "order": 12345678901234567, "lines": ["a", "b"]}
    assert task["run_at"].isoformat() == "2099-01-02T03:04:00+00:00"
    assert task["created_by"].startswith("key:")
    assert (await me.get(f"tasks/{task['id']}")).status_code == 200


async def test_what_is_left_empty_has_the_kinds_defaults(platform: Platform, me: Visitor) -> None:
    await me.post("tasks/new", ECHO)
    [task] = await stored(platform)
    assert (task["args"], task["queue"], task["priority"], task["state"]) == ("{}", "default", 2, "available")


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_the_form_is_made_of_the_schema(platform: Platform, app: Litestar, lang: str) -> None:
    me = await visitor(platform, app, lang=lang)
    for path in (PATH, f"{PATH}&as=json", "tasks/new"):
        whole, bare = await me.get(path), await me.get(path, HX_Request="true")
        assert (whole.status_code, bare.status_code) == (200, 200)
        assert "<html" not in bare.text
    text = (await me.get(PATH)).text
    names = re.findall(r'name="(args[^"]*)"', text)
    assert names[:2] == ["args/text", "args/order"]
    optional = ("address/street", "address/zip", "code", "colour", "counts", "either", "extra", "lines", "paid", "rate")
    assert sorted(names[2:]) == [f"args/{name}" for name in optional]
    assert text.count(f'<span class="tag">{"必填" if lang == "zh" else "required"}</span>') == 3
    assert "With the number of the house." in text
    assert re.findall(r'name="(args[^"]*)"', (await me.get(f"{PATH}&as=json")).text) == ["args"]


async def test_all_that_is_wrong_is_told_in_place_and_what_was_typed_stays(platform: Platform, me: Visitor) -> None:
    typed = {
        "args/text": "",
        "args/order": "<x>",
        "args/counts": "1\r\nx",
        "args/address/street": "y",
        "args/colour": '"green"',
    }
    answer = await me.post("tasks/new", {"kind": RICH, **typed, "queue": "mail"})
    assert answer.status_code == 422
    assert (answer.headers["hx-retarget"], answer.headers["cache-control"]) == ("#page", "no-store")
    assert wrong(answer.text) == {
        "args/text": "must be filled in",
        "args/order": "must be a number such as 7 or 1.5",
        "args/counts": "item 2: must be a number such as 7 or 1.5",
        "args/address/street": '"y" is shorter than 2 characters',
    }
    assert "Not submitted, 4 to correct" in answer.text
    assert 'value="&lt;x&gt;"' in answer.text
    assert ">\n1\nx</textarea>" in answer.text.replace("\r", "")
    assert '<option value="&#34;green&#34;" selected>' in answer.text
    assert 'name="queue" value="mail"' in answer.text
    assert await stored(platform) == []


@pytest.mark.parametrize(
    ("form", "field", "told"),
    [
        ({"queue": "a b"}, "queue", "letters, digits"),
        ({"priority": "9"}, "priority", "is none of the choices"),
        ({"run_at": "tomorrow"}, "run_at", "not a moment: tomorrow"),
        ({"run_at": "1800-01-01T00:00"}, "run_at", "the year must be within"),
    ],
)
async def test_options_that_do_not_fit(platform: Platform, me: Visitor, form: dict[str, str], field: str, told: str) -> None:
    answer = await me.post("tasks/new", ECHO | form)
    assert (answer.status_code, list(wrong(answer.text))) == (422, [field])
    assert told in wrong(answer.text)[field]
    assert field == "priority" or f'value="{html.escape(form[field])}"' in answer.text  # 选项之外的值，列表里放不下
    assert await stored(platform) == []


@pytest.mark.parametrize(
    ("args", "told"),
    [("[1]", "is not of type"), ("{", "not JSON"), ('{"n": "x"}', ".n: "), ('{"text": "a\\u0000"}', "NUL")],
)
async def test_args_as_json(platform: Platform, me: Visitor, args: str, told: str) -> None:
    answer = await me.post("tasks/new", ECHO | {"as": "json", "args": args})
    assert answer.status_code in {400, 422}
    assert told in answer.text
    assert html.escape(args, quote=False).replace('"', "&#34;") in answer.text
    assert (await me.post("tasks/new", ECHO | {"as": "json", "args": '{"n": 3}'})).headers["hx-redirect"]
    assert [task["args"] for task in await stored(platform)] == ['{"n": 3}']


async def test_pressed_twice_it_is_one_task_and_changed_it_is_told(platform: Platform, me: Visitor) -> None:
    page = (await me.get(f"tasks/new?kind={api.KIND}")).text
    once = re.search(r'name="once" value="([0-9a-f-]{36})"', page)
    assert once is not None
    form = ECHO | {"once": once[1], "args/n": "1"}
    places = {(await me.post("tasks/new", form)).headers["hx-redirect"] for _ in range(2)}
    assert len(places) == len(await stored(platform)) == 1
    changed = await me.post("tasks/new", form | {"args/n": "2"})
    assert (changed.status_code, "IDEMPOTENCY_CONFLICT" in changed.text) == (409, True)
    again = re.search(r'name="once" value="([0-9a-f-]{36})"', changed.text)
    assert again is not None
    assert (await me.post("tasks/new", form | {"args/n": "2", "once": again[1]})).status_code == 200
    assert len(await stored(platform)) == 2


async def test_who_may_only_read_has_no_form_and_is_refused(platform: Platform, reader: Visitor) -> None:
    for answer in (await reader.get(PATH), await reader.get("tasks/new"), await reader.post("tasks/new", GOOD)):
        assert (answer.status_code, "FORBIDDEN" in answer.text) == (403, True)
    assert await stored(platform) == []
    for path in ("tasks", "plugins"):
        assert "tasks/new" not in (await reader.get(path)).text


async def test_the_pages_of_tasks_and_plugins_lead_to_it(me: Visitor) -> None:
    assert 'href="./tasks/new"' in (await me.get("tasks")).text
    assert f'href="./tasks/new?kind={RICH}"' in (await me.get("plugins")).text
    assert f'href="../tasks/new?kind={RICH}"' in (await me.get("tasks/new")).text


@pytest.mark.parametrize("headers", [{"X_CSRF_Token": ""}, {"X_CSRF_Token": "0" * 64}, {"Sec_Fetch_Site": "cross-site"}])
async def test_nothing_is_submitted_without_the_token(platform: Platform, me: Visitor, headers: dict[str, str]) -> None:
    answer = await me.post("tasks/new", GOOD, **headers)
    assert (answer.status_code, "CSRF_INVALID" in answer.text) == (403, True)
    assert await stored(platform) == []


@pytest.mark.parametrize("kind", ["no.such", "x\x00", "<x>"])
async def test_a_kind_that_is_not_there(me: Visitor, kind: str) -> None:
    for answer in (
        await me.client.get("/dashboard/tasks/new", params={"kind": kind}),
        await me.post("tasks/new", {"kind": kind}),
    ):
        assert (answer.status_code, "KIND_NOT_REGISTERED" in answer.text, "<x>" in answer.text) == (404, True, False)


async def test_more_than_args_may_be_is_refused(platform: Platform, me: Visitor) -> None:
    most = platform.settings.args_max_bytes
    answer = await me.post("tasks/new", ECHO | {"args/text": "x" * (most + 1)})
    assert (answer.status_code, "ARGS_TOO_LARGE" in answer.text) == (413, True)
    answer = await me.post("tasks/new", {"x": "y" * (dc.FORM_MAX_BYTES + handler.FORM_FACTOR * most)})
    assert (answer.status_code, "hx-retarget" in answer.headers) == (413, False)


async def test_a_database_that_is_away_keeps_what_was_typed(
    platform: Platform, me: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(SubmitService, "submit", away)
    answer = await me.post("tasks/new", GOOD)
    assert (answer.status_code, "DATABASE_UNAVAILABLE" in answer.text) == (503, True)
    assert "hx-retarget" not in answer.headers


async def test_a_task_that_is_there_already_is_named(platform: Platform, me: Visitor) -> None:
    await platform.database.pool.execute(
        'update taskmill.kinds set controls = \'{"unique": {"by": ["order"]}}\' where kind = $1', RICH
    )
    platform.submit.kinds._read_at = float("-inf")
    first = (await me.post("tasks/new", GOOD)).headers["hx-redirect"]
    second = await me.post("tasks/new", GOOD)
    assert second.status_code == 200
    assert "a task with its unique key is there" in second.text
    assert f'href="{first}"' in second.text
    assert [UUID(first.rpartition("/")[2])] == [task["id"] for task in await stored(platform)]
