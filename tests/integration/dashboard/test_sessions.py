"""Sessions: opened with a key or by a link, bounded, and over when they should be."""

from __future__ import annotations

import hashlib

import pytest
from litestar import Litestar

from taskmill.api.app import create_app, one_time_link
from taskmill.dashboard import constants as dc
from taskmill.services.access import new_dev_token
from taskmill.services.dashboard import constants as c
from taskmill.services.platform import Platform
from tests.support import api
from tests.support.dashboard import PAGES, Visitor, visitor

pytestmark = pytest.mark.anyio
WRONG = "tmk_" + "x" * 43


async def _in(found: Visitor) -> bool:
    return (await found.get("tasks")).status_code == 200


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "./login"),
        ("tasks", "./login?next=tasks"),
        ("tasks?q=state%3Arunning", "./login?next=tasks%3Fq%3Dstate%253Arunning"),
        ("queues/mail", "../login?next=queues%2Fmail"),
        ("nothing/at/all", "../../login?next=nothing%2Fat%2Fall"),
    ],
)
async def test_who_has_no_session_is_sent_to_the_log_in_and_back(app: Litestar, path: str, target: str) -> None:
    answer = await Visitor(app).get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, target)


async def test_the_address_without_its_slash_leads_to_the_log_in_too(app: Litestar) -> None:
    answer = await Visitor(app).client.get("/dashboard")
    assert (answer.status_code, answer.headers["location"]) == (303, "dashboard/login")


async def test_a_page_that_asks_for_itself_without_a_session_hears_so(app: Litestar) -> None:
    answer = await Visitor(app).get("tasks", HX_Request="true")
    assert answer.status_code == 401
    assert "UNAUTHORIZED" in answer.text


async def test_the_root_gets_its_slash(me: Visitor) -> None:
    answer = await me.client.get("/dashboard")
    assert (answer.status_code, answer.headers["location"]) == (307, "dashboard/")


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "https, http"}, True),
        ({"X-Forwarded-Proto": "http"}, False),
    ],
)
async def test_the_cookie_is_for_the_dashboard_alone(
    platform: Platform, app: Litestar, headers: dict[str, str], secure: bool
) -> None:
    key = await platform.keys.create("k")
    answer = await Visitor(app).client.post("/dashboard/login", data={"api_key": key.secret}, headers=headers)
    told = answer.headers["set-cookie"]
    assert told.startswith(f"{dc.COOKIE}=")
    assert "HttpOnly" in told
    assert "SameSite=lax" in told
    assert "Path" not in told
    assert ("Secure" in told) == secure


async def test_only_a_hash_of_the_token_is_stored(platform: Platform, me: Visitor) -> None:
    token = me.client.cookies[dc.COOKIE]
    rows = await platform.database.pool.fetch("select * from taskmill.dashboard_sessions")
    assert [row["token_hash"] for row in rows] == [hashlib.sha256(token.encode()).digest()]
    assert token not in str(rows)


async def test_a_session_ends_with_its_key(platform: Platform, me: Visitor) -> None:
    assert await _in(me)
    [key] = await platform.keys.list()
    await platform.keys.revoke(str(key.id))
    assert not await _in(me)


@pytest.mark.parametrize(
    "change",
    [
        "update taskmill.dashboard_sessions set expires_at = now()",
        f"update taskmill.dashboard_sessions set seen_at = now() - interval '{8 * 3600} seconds'",
        "update taskmill.api_keys set expires_at = now()",
        "delete from taskmill.api_keys",
    ],
    ids=["absolute", "idle", "key expired", "key deleted"],
)
async def test_a_session_ends_in_time(platform: Platform, me: Visitor, change: str) -> None:
    await platform.database.pool.execute(change)
    assert not await _in(me)


async def test_its_scopes_are_those_of_the_key_now(platform: Platform, me: Visitor) -> None:
    await platform.database.pool.execute("update taskmill.api_keys set scopes = '{read}'")
    assert (await me.post("queues/x/pause")).status_code == 403
    await platform.database.pool.execute("update taskmill.api_keys set scopes = '{}'")
    assert (await me.get("tasks")).status_code == 403


@pytest.mark.parametrize(("headers", "moves"), [({}, True), ({"Taskmill_Refresh": "1", "HX_Request": "true"}, False)])
async def test_a_page_that_refreshes_itself_is_not_somebody(
    platform: Platform, me: Visitor, headers: dict[str, str], moves: bool
) -> None:
    old = f"update taskmill.dashboard_sessions set seen_at = now() - interval '{2 * c.SEEN_EVERY_S} seconds'"
    await platform.database.pool.execute(old)
    await me.get("tasks", **headers)
    fresh = f"select seen_at > now() - interval '{c.SEEN_EVERY_S} seconds' from taskmill.dashboard_sessions"
    assert await platform.database.pool.fetchval(fresh) == moves


async def test_a_key_has_a_bounded_number_of_sessions(database_url: str, broker_url: str) -> None:
    async with api.opened(database_url, broker_url, dashboard_sessions_max=2) as platform:
        app = create_app(platform)
        key = await platform.keys.create("k")
        visitors = [Visitor(app) for _ in range(3)]
        for each in visitors:
            await each.login(key.secret)
        other = await visitor(platform, app)
        assert [await _in(each) for each in [*visitors, other]] == [False, True, True, True]


async def test_dead_sessions_are_removed_with_the_next_log_in(platform: Platform, app: Litestar, me: Visitor) -> None:
    await platform.database.pool.execute("update taskmill.dashboard_sessions set expires_at = now()")
    await visitor(platform, app)
    assert await platform.database.pool.fetchval("select count(*) from taskmill.dashboard_sessions") == 1


async def test_log_out_ends_it(platform: Platform, me: Visitor) -> None:
    token = me.client.cookies[dc.COOKIE]
    answer = await me.post("logout")
    assert (answer.status_code, answer.headers["hx-refresh"]) == (200, "true")
    assert dc.COOKIE not in me.client.cookies
    me.client.cookies.set(dc.COOKIE, token)
    assert not await _in(me)


async def test_wrong_guesses_are_limited_by_address_and_keep_no_good_key_out(platform: Platform, app: Litestar) -> None:
    key = await platform.keys.create("k")
    guesser, other = Visitor(app, address="10.0.0.1"), Visitor(app, address="10.0.0.2")
    for _ in range(c.FAILURES_MAX):
        assert (await guesser.login(WRONG)).status_code == 401
    answer = await guesser.login(WRONG)
    assert answer.status_code == 429
    assert "too many wrong keys" in answer.text
    assert (await other.login(WRONG)).status_code == 401
    assert (await guesser.login(key.secret)).status_code == 303


@pytest.mark.parametrize("secret", ["", "\x00", "é" * 10, "tmk_z", WRONG])
async def test_what_is_no_key_is_refused_and_not_shown(app: Litestar, secret: str) -> None:
    answer = await Visitor(app).login(secret)
    assert answer.status_code == 401
    if secret:
        assert secret not in answer.text


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("tasks?q=state:running", "./tasks?q=state:running"),
        ("queues/mail", "./queues/mail"),
        ("queues/%E9%82%AE%E4%BB%B6", "./queues/%E9%82%AE%E4%BB%B6"),
        ("//evil.example", "./"),
        ("a/%2e%2e/%2E%2e/other", "./"),
        ("https://evil.example", "./"),
        ("javascript:alert(1)", "./"),
        ("../../x", "./"),
        ("a/../../x", "./"),
        ("a\\b", "./"),
        ("a\r\nSet-Cookie: x=1", "./"),
        ("a" * 2_000, "./"),
        ("", "./"),
    ],
)
async def test_the_way_back_leads_nowhere_else(platform: Platform, app: Litestar, given: str, place: str) -> None:
    key = await platform.keys.create("k")
    answer = await Visitor(app).client.post("/dashboard/login", data={"api_key": key.secret, "next": given})
    assert (answer.status_code, answer.headers["location"]) == (303, place)


async def test_a_link_logs_in_once_and_from_this_machine_only(platform: Platform) -> None:
    app = create_app(platform, dev_token=new_dev_token(), beside_keys=True)
    link = one_time_link(app, "http://127.0.0.1:1")
    assert link is not None
    path = link.partition("/dashboard/")[2]
    first = Visitor(app)
    answer = await first.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    assert await _in(first)
    again = await Visitor(app).get(path)
    assert again.status_code == 401
    assert "the link was used or is too old" in again.text
    far = Visitor(app, address="10.0.0.1")
    far.client.cookies = first.client.cookies
    assert not await _in(far)


async def test_a_developer_is_gone_with_the_token(platform: Platform) -> None:
    token = new_dev_token()
    found = Visitor(create_app(platform, dev_token=token, beside_keys=True))
    await found.login(token)
    assert await _in(found)
    later = Visitor(create_app(platform))
    later.client.cookies = found.client.cookies
    assert not await _in(later)


async def test_without_the_setting_there_is_no_dashboard(database_url: str, broker_url: str) -> None:
    async with api.opened(database_url, broker_url, dashboard=False) as platform:
        app = create_app(platform, dev_token=new_dev_token())
        assert one_time_link(app, "http://h") is None
        async with api.client(app) as client:
            for page in PAGES:
                api.refusal(await client.get(f"/dashboard/{page}"), 404, "ROUTE_NOT_FOUND")
