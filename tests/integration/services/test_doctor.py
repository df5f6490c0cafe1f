"""`doctor` tries what the roles need: a ✗ with its fix where nothing can work."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis

from taskmill.api.app import create_app
from taskmill.api.server import serve
from taskmill.cli.commands.doctor import chinese
from taskmill.plugin.host import PluginHost
from taskmill.services.doctor import port as doctor_port
from taskmill.services.doctor.checks import Finding, examine
from taskmill.settings import Settings
from taskmill.words import Words
from tests.conftest import ValkeyFactory
from tests.support.api import opened
from tests.support.databases import execute, with_database
from tests.support.roles import as_role, temporary_role

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "operations.md"


async def found(database_url: str, broker_url: str) -> dict[str, Finding]:
    settings = Settings(database_url=database_url, broker_url=broker_url, api_port=0)  # pyright: ignore[reportArgumentType]
    return {finding.name: finding for finding in await examine(settings, PluginHost())}


async def test_what_works_is_said_to_work(database_url: str, broker_url: str) -> None:
    seen = await found(database_url, broker_url)
    rights = next(name for name in seen if name.startswith("rights of"))
    for name in ("encoding", rights, "write", "dispatch", "time zones"):
        assert seen[name].ok is True, seen[name]
    with redis.Redis.from_url(broker_url) as client:
        assert client.keys("*") == []  # 不留痕迹


WAITS = {
    "task": "insert into taskmill.tasks (id, queue, kind, args, timeout_ms, state) "
            "values (gen_random_uuid(), 'q', 'k', '{}', 1000, 'available')",
    "worker": "insert into taskmill.workers (id, hostname, pid, version, queues, kinds, concurrency, lease_until) "
              "values (gen_random_uuid(), 'h', 1, '1', '{}', '{}', 1, now() + interval '1 minute')",
    "schedule": "insert into taskmill.schedules (id, name, kind, args, cron, catch_up_s) "
                "values (gen_random_uuid(), 's', 'k', '{}', '* * * * *', 1)",
}  # fmt: skip


@pytest.mark.parametrize("waits", list(WAITS))
async def test_no_scheduler_is_a_fault_only_where_something_waits_for_one(
    database_url: str, broker_url: str, waits: str
) -> None:
    """Right after `migrate up` nothing runs yet, and `doctor` has nothing to complain of."""
    assert (await found(database_url, broker_url))["schedulers"].ok is None
    await execute(database_url, WAITS[waits])
    assert (await found(database_url, broker_url))["schedulers"].ok is False


@pytest.mark.parametrize(
    ("state", "due_in", "waits"),
    [("available", "0s", True), ("scheduled", "4s", True), ("retryable", "4s", True), ("scheduled", "1 hour", False)],
)
async def test_a_task_that_workers_put_off_since_none_knows_its_kind_still_waits(
    database_url: str, broker_url: str, state: str, due_in: str, waits: bool
) -> None:
    await execute(
        database_url,
        "insert into taskmill.workers (id, hostname, pid, version, queues, kinds, concurrency, lease_until) "
        "values (gen_random_uuid(), 'h', 1, '1', '{q}', '{other:1}', 1, now() + interval '1 minute')",
        "insert into taskmill.tasks (id, queue, kind, args, timeout_ms, state, run_at) "
        f"values (gen_random_uuid(), 'q', 'k', '{{}}', 1000, '{state}', now() + interval '{due_in}')",
    )
    finding = (await found(database_url, broker_url))["waiting tasks"]
    assert finding.ok is not waits
    assert ("1 of k:1 wait" in str(finding.detail)) is waits


async def test_a_database_that_holds_no_chinese(database_url: str, broker_url: str) -> None:
    name = "latin_" + database_url.rpartition("_")[2]
    await execute(database_url, f"create database {name} encoding 'LATIN1' locale 'C' template template0")
    try:
        seen = await found(with_database(database_url, name), broker_url)
        assert (seen["encoding"].ok, seen["encoding"].detail) == (False, "LATIN1")
        assert isinstance(seen["encoding"].fix, Words)
    finally:
        await execute(database_url, f"drop database {name} with (force)")


async def test_rights_that_are_missing_are_named(database_url: str, broker_url: str) -> None:
    grants = ("grant usage on schema taskmill to {role}", "grant select on all tables in schema taskmill to {role}")
    with temporary_role(database_url, *grants) as role:
        finding = (await found(as_role(database_url, role), broker_url))[f"rights of {role}"]
    assert finding.ok is False
    assert "INSERT on tasks" in str(finding.detail)
    assert "EXECUTE on taskmill.ensure_partitions(integer)" in str(finding.detail)
    assert "SELECT on" not in str(finding.detail)


async def test_a_server_that_takes_no_writes(database_url: str, broker_url: str) -> None:
    read_only = ("grant all on schema taskmill to {role}", "grant all on all tables in schema taskmill to {role}",
                 "grant all on all functions in schema taskmill to {role}", "alter role {role} set default_transaction_read_only = on")  # fmt: skip
    with temporary_role(database_url, *read_only) as role:
        assert (await found(as_role(database_url, role), broker_url))["write"].ok is False


@pytest.mark.parametrize(
    "barred",
    [
        "subscribe",
        "publish",
        "xpending",
        "xinfo",
        "xrange",
        "xlen",
        "xreadgroup",
        "xadd",
        "xack",
        "xdel",
        "xgroup",
        "hdel",
        "hset",
        "hsetnx",
        "hmget",
        "hexists",
        "exists",
        "del",
    ],
)
async def test_every_command_that_some_role_needs_is_tried(
    database_url: str, own_valkey: ValkeyFactory, barred: str
) -> None:
    server = own_valkey()
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">p", "~*", "&*", "+@all", f"-{barred}")
    parts = urlsplit(server.url)
    poor = urlunsplit(parts._replace(netloc=f"poor:p@{parts.netloc.rpartition('@')[2]}"))
    assert (await found(database_url, poor))["dispatch"].ok is False


async def test_a_user_of_valkey_without_scripts_and_the_one_of_the_guide(
    database_url: str, own_valkey: ValkeyFactory
) -> None:
    server = own_valkey()
    pasted = re.search(r"^ACL SETUSER taskmill (.*)$", GUIDE.read_text(), re.MULTILINE)
    assert pasted is not None
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">p", "~*", "&*", "+@all", "-@scripting")
        client.execute_command("ACL", "SETUSER", "taskmill", *pasted[1].replace("choose-one", "p").split())

    def as_user(name: str) -> str:
        parts = urlsplit(server.url)
        return urlunsplit(parts._replace(netloc=f"{name}:p@{parts.netloc.rpartition('@')[2]}"))

    poor = (await found(database_url, as_user("poor")))["dispatch"]
    assert poor.ok is False
    assert "permissions" in str(poor.detail)
    assert isinstance(poor.fix, Words)
    connection = await asyncpg.connect(database_url)
    await connection.execute("insert into taskmill.queues (name) values ('emails')")
    await connection.close()
    ours = await found(database_url, as_user("taskmill"))
    assert {name: ours[name].ok for name in ("dispatch", "keys")} == {"dispatch": True, "keys": True}


@pytest.mark.parametrize("owner", ["nobody", "stranger", "api"])
async def test_who_holds_the_port_of_the_api_is_known(database_url: str, broker_url: str, owner: str) -> None:
    async with AsyncExitStack() as stack:
        if owner == "api":
            port = await stack.enter_async_context(_serving_api(database_url, broker_url))
        else:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listener.getsockname()[1]
            if owner == "nobody":
                listener.close()
        ok, detail, fix = await doctor_port.examine(Settings(api_host="127.0.0.1", api_port=port))
    assert (ok, bool(fix)) == {"nobody": (True, False), "stranger": (None, True), "api": (True, False)}[owner]
    told = {"nobody": "free", "stranger": "held by somebody else", "api": "held by the API"}
    assert told[owner] in detail.en


@asynccontextmanager
async def _serving_api(database_url: str, broker_url: str) -> AsyncIterator[int]:
    async with opened(database_url, broker_url) as platform, asyncio.TaskGroup() as group:
        stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
        group.create_task(serve(create_app(platform), "127.0.0.1", 0, stop=stop, bound=bound.set_result))
        yield await bound
        stop.set()


async def test_each_finding_has_a_chinese_title(database_url: str, broker_url: str) -> None:
    for name in await found(database_url, broker_url):
        assert re.search(r"[\u4e00-\u9fff]", chinese(name)) or name in {"postgresql", "valkey"}, name
