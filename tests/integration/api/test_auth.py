"""Who may call: keys, scopes, expiry, revocation, and the closed door of a fresh installation."""

from __future__ import annotations

from datetime import timedelta

import httpx2
import pytest
from litestar import Litestar

from taskmill.api.app import create_app
from taskmill.clock import FakeClock, SystemClock
from taskmill.services import constants as c
from taskmill.services.access import new_dev_token
from taskmill.services.keys import KeyService
from taskmill.services.platform import Platform
from tests.support.api import KIND, client, data, refusal

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"


@pytest.fixture
def app(platform: Platform) -> Litestar:
    """The application, with a development token."""
    return create_app(platform, dev_token="tmk_" + "d" * 43)


async def test_without_a_key_everything_is_closed(app: Litestar) -> None:
    async with client(app) as anonymous:
        for path in ("/api/v1/tasks", "/api/v1/queues", "/api/v1/workers", "/metrics"):
            refusal(await anonymous.get(path), 401, "UNAUTHORIZED")
        answer = await anonymous.post(TASKS, json={"kind": KIND})
        refusal(answer, 401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert (await anonymous.get("/healthz")).status_code == 200
        assert (await anonymous.get("/readyz")).status_code == 200
        assert (await anonymous.get("/schema")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer tmk_short",
        "Bearer " + "x" * 47,
        "Bearer tmk_" + "A" * 43,
        "Bearer tmk_" + "A" * 43 + " x",
    ],
)
async def test_what_is_no_key_is_refused(app: Litestar, header: str) -> None:
    async with client(app) as anonymous:
        refusal(await anonymous.get(TASKS, headers={"Authorization": header}), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("address", "passes"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.5", False),
        ("::ffff:10.0.0.5", False),
        ("unix", False),
    ],
)
async def test_the_development_token_opens_from_this_machine_only(platform: Platform, address: str, passes: bool) -> None:
    token = new_dev_token()
    async with client(create_app(platform, dev_token=token), token, address=address) as developer:
        answer = await developer.post(TASKS, json={"kind": KIND})
    if passes:
        data(answer, 201)
    else:
        refusal(answer, 401, "UNAUTHORIZED")


async def test_the_development_token_ends_with_the_first_key(platform: Platform) -> None:
    token = new_dev_token()
    app = create_app(platform, dev_token=token)
    async with client(app, token) as developer:
        data(await developer.get(TASKS))
        key = await platform.keys.create("first")
        refusal(await developer.get(TASKS), 401, "UNAUTHORIZED")
        await platform.keys.revoke(str(key.id))
        refusal(await developer.get(TASKS), 401, "UNAUTHORIZED")


async def test_a_read_key_reads_and_does_not_write(platform: Platform) -> None:
    key = await platform.keys.create("reader", ["read"])
    async with client(create_app(platform), key.secret) as reader:
        data(await reader.get(TASKS))
        assert refusal(await reader.post(TASKS, json={"kind": KIND}), 403, "FORBIDDEN") == {"permission": "write"}
        refusal(await reader.post("/api/v1/queues/default/pause"), 403, "FORBIDDEN")
        assert (await reader.get("/metrics")).status_code == 200


async def test_a_write_key_reads_too(platform: Platform) -> None:
    key = await platform.keys.create("writer", ["write"])
    async with client(create_app(platform), key.secret) as writer:
        data(await writer.post(TASKS, json={"kind": KIND}), 201)
        data(await writer.get(TASKS))


async def test_a_revoked_key_stops_working_in_other_processes_within_the_cache_time(platform: Platform) -> None:
    clock = FakeClock(SystemClock().now())
    here, there = KeyService(platform.database, clock), platform.keys
    key = await there.create("gone")
    assert await here.authenticate(key.secret) is not None
    await there.revoke("gone")
    assert await there.authenticate(key.secret) is None
    assert await here.authenticate(key.secret) is not None
    clock.advance(c.API_KEY_CACHE_S + 0.1)
    assert await here.authenticate(key.secret) is None


async def test_an_expired_key_is_refused_even_from_the_cache(platform: Platform) -> None:
    clock = FakeClock(SystemClock().now())
    keys = KeyService(platform.database, clock)
    key = await keys.create("brief", expires_at=clock.now() + timedelta(seconds=60))
    assert await keys.authenticate(key.secret) is not None
    await platform.database.pool.execute("update taskmill.api_keys set expires_at = now() - interval '1 second'")
    clock.advance(c.API_KEY_CACHE_S + 0.1)
    assert await keys.authenticate(key.secret) is None


async def test_metrics_can_be_made_public(database_url: str, broker_url: str) -> None:
    from tests.support import api

    async with (
        api.opened(database_url, broker_url, metrics_public=True) as platform,
        client(create_app(platform)) as anonymous,
    ):
        answer = await anonymous.get("/metrics")
    assert answer.status_code == 200
    assert "taskmill_build_info" in answer.text


async def test_created_by_names_the_key(client: httpx2.AsyncClient) -> None:
    accepted = data(await client.post(TASKS, json={"kind": KIND}), 201)
    assert data(await client.get(f"{TASKS}/{accepted['id']}"))["created_by"] == "key:tests"
