"""The API in tests: a platform on real servers, and a client that calls the application in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import msgspec
from litestar import Litestar

from taskmill.api.app import create_app
from taskmill.ids import new_id
from taskmill.plugin.definition import task
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.settings import Settings
from taskmill.states import Cause, State
from taskmill.stores.tasks.failures import Failed
from taskmill.stores.tasks.settle import Outcome, settle
from tests.support.databases import execute

BASE = "http://127.0.0.1"
KIND = "test.echo"


@task(KIND)
async def echo(text: str = "", n: int = 0) -> dict[str, Any]:
    """Return what it was given."""
    return {"text": text, "n": n}


def host(plugins: Mapping[str, object] | None = None) -> PluginHost:
    """A plugin host with these plugins, by default none, whose registry has one kind."""
    found = PluginHost.load(Settings(plugins_allow=list(plugins)), plugins, env={}) if plugins else PluginHost()
    found.registry.bound("tests", "1")
    found.registry.add(echo)
    return found


def settings(database_url: str, broker_url: str, **overrides: Any) -> Settings:
    """Settings that read nothing from the environment but what is given."""
    return Settings.model_validate({"database_url": database_url, "broker_url": broker_url, **overrides})


@asynccontextmanager
async def opened(
    database_url: str,
    broker_url: str,
    *,
    partitions_by: str | None = None,
    plugins: Mapping[str, object] | None = None,
    **overrides: Any,
) -> AsyncIterator[Platform]:
    """A platform with partitions for today and these plugins, closed at the end; `partitions_by` is a URL that may make them."""
    await partitions(partitions_by or database_url)
    platform = await Platform.open(settings(database_url, broker_url, **overrides), host(plugins))
    try:
        yield platform
    finally:
        await platform.close()


async def partitions(database_url: str) -> None:
    """Make one partition that holds everything a test can finish."""
    await execute(
        database_url,
        "create table if not exists taskmill.task_history_tests partition of taskmill.task_history "
        "for values from ('2000-01-01') to ('2100-01-01')",
    )


def client(app: Litestar, token: str | None = None, *, address: str = "127.0.0.1") -> httpx2.AsyncClient:
    """A client of the application in this process; `address` is where it seems to come from."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    transport = httpx2.ASGITransport(app=app, client=(address, 50_000), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers)


@asynccontextmanager
async def api(platform: Platform, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with a key that may do everything."""
    key = await platform.keys.create("tests")
    async with client(create_app(platform, **options), key.secret) as found:
        yield found


def envelope(response: httpx2.Response) -> dict[str, Any]:
    """Return the decoded answer after checking its shape: the same for success and failure."""
    found: dict[str, Any] = msgspec.json.decode(response.content)
    expected = {"code", "message", "data", "request_id", "timestamp"}
    assert expected <= set(found), f"{response.status_code}: {found}"
    assert set(found) - expected <= {"details", "hint"}
    assert set(found["message"]) == {"zh", "en"}
    assert found["request_id"] == response.headers["x-request-id"]
    assert (found["code"] == "OK") == response.is_success
    if found["code"] != "OK":
        assert isinstance(found["details"], dict)
    return found


def data(response: httpx2.Response, status: int = 200) -> Any:
    """Return the data of a successful answer."""
    found = envelope(response)
    assert response.status_code == status, found
    return found["data"]


def refusal(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the details of an error."""
    found = envelope(response)
    assert (response.status_code, found["code"]) == (status, code), found
    details: dict[str, Any] = found["details"]
    return details


async def make_running(platform: Platform, task_id: str, worker_id: UUID) -> None:
    """Claim a task by hand, as a worker would."""
    await platform.database.pool.execute(
        "update taskmill.tasks set state = 'running', worker_id = $2, claim_no = claim_no + 1, attempt = attempt + 1, "
        "started_at = now(), deadline_at = now() + interval '1 minute' where id = $1",
        UUID(task_id),
        worker_id,
    )


async def finish(platform: Platform, task_id: str, state: State, *, result: bytes | None = None) -> None:
    """Run a waiting task to its end by hand, through the settle statement."""
    worker = new_id()
    await make_running(platform, task_id, worker)
    claim_no = await platform.database.pool.fetchval("select claim_no from taskmill.tasks where id = $1", UUID(task_id))
    failed = state is State.DISCARDED
    outcome = Outcome(
        id=UUID(task_id),
        claim_no=claim_no,
        worker_id=worker,
        state=state,
        result=result,
        kind=KIND,
        home="default",
        error=b'{"type":"ValueError","message":"no"}' if failed else None,
        cause=Cause.ERROR if failed else None,
        error_type="ValueError" if failed else None,
        message="no" if failed else None,
        traceback="trace" if failed else None,
    )
    counted = list[Failed]()
    async with platform.database.transaction() as connection:
        assert set(await settle(connection, [outcome], new_id(), failed=counted)) == {UUID(task_id)}
    platform.failures.note(counted)
    await platform.failures.flush()
