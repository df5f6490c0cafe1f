"""`taskmill.submit_tasks`: many by SQL, answered as REST answers; a refusal is an answer, and the transaction goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.unique import Unique
from taskmill.errors import TaskmillError
from taskmill.services.platform import Platform
from taskmill.services.tasks.guests import Refused, refused
from taskmill.services.tasks.submit_request import SubmitRequest, request_of
from tests.support.door_kinds import KINDS
from tests.support.engines import final, live, platform_of, running, submit
from tests.support.roles import connected

pytestmark = pytest.mark.anyio
GRANTS = ("grant usage on schema taskmill to {role}", "grant execute on function taskmill.submit_tasks(jsonb) to {role}")
ONCE = {"kind": "door.once", "args": {"to": "a"}}
ECHO = {"kind": "door.echo", "args": {"text": "x"}}


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, *KINDS) as made:
        yield made


@pytest.fixture
async def app(platform: Platform, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an application that may call the function and nothing else."""
    async with connected(database_url, *GRANTS) as connection:
        yield connection


async def call(connection: Any, *requests: Any) -> Any:
    raw = await connection.fetchval(
        "select taskmill.submit_tasks($1::text::jsonb)::text", msgspec.json.encode(requests).decode()
    )
    return msgspec.json.decode(raw)


async def test_each_is_answered_in_turn(platform: Platform, app: asyncpg.Connection) -> None:
    later = {**ECHO, "delay_s": 60, "queue": "q"}
    first, second, third, fourth = await call(app, ONCE, later, ONCE, {"kind": "door.echo"})
    assert first.keys() == {"id", "kind", "queue", "state", "run_at", "duplicate", "replaced"}
    assert (first["kind"], first["queue"], first["state"], first["duplicate"]) == ("door.once", "mail", "available", False)
    assert (second["queue"], second["state"], fourth["state"]) == ("q", "scheduled", "available")
    assert (third["id"], third["duplicate"], third["replaced"]) == (first["id"], True, False)
    assert await call(app) == []


async def test_what_is_a_duplicate(platform: Platform, app: asyncpg.Connection) -> None:
    async def told(request: Any) -> tuple[bool, bool]:
        (answer,) = await call(app, request)
        return answer["duplicate"], answer["replaced"]

    replacing = {**ONCE, "args": {"to": "a", "text": "new"}, "unique": {"by": ["to"], "on_duplicate": "replace"}}
    assert await told(ONCE) == (False, False)
    assert await told(ONCE) == (True, False)
    assert await told(replacing) == (True, True)
    async with app.transaction():
        assert await told({**ONCE, "args": {"to": "b"}}) == (False, False)
        for _ in range(20):  # 多半落在同一毫秒里
            assert await told({**ONCE, "args": {"to": "b"}}) == (True, False)
        assert await told(ECHO) == (False, False)
        assert await told(ECHO) == (False, False)
        await app.execute("savepoint s")
        assert await told({**ONCE, "args": {"to": "c"}}) == (False, False)
        await app.execute("rollback to s")
        assert await told({**ONCE, "args": {"to": "c"}}) == (False, False)


async def test_the_key_of_a_task_that_has_ended(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, *KINDS) as platform:
        task = await submit(platform, "door.once", {"to": "a"}, unique=Unique(by=["to"], period_s=600))
        await final(platform, task)
        async with platform.database.pool.acquire() as connection:
            raw = msgspec.json.encode([{**ONCE, "unique": {"by": ["to"]}}])
            (answer,) = msgspec.json.decode(await connection.fetchval("select taskmill.submit_tasks($1)", raw))
        assert (answer["id"], answer["state"], answer["duplicate"]) == (str(task), "completed", True)


async def test_a_duplicate_of_somebody_who_commits_meanwhile(platform: Platform, app: asyncpg.Connection) -> None:
    async with platform.database.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        raw = msgspec.json.encode([ONCE])
        (theirs,) = msgspec.json.decode(await other.fetchval("select taskmill.submit_tasks($1)", raw))
        await transaction.commit()
    (ours,) = await call(app, ONCE)
    assert (ours["id"], ours["duplicate"], ours["replaced"]) == (theirs["id"], True, False)


BAD: list[dict[str, Any]] = [
    {"kind": "door.none"},
    {"kind": "door.echo", "args": []},
    {"kind": "door.echo", "args": {"text": "x" * 262_144}},
    {"kind": "door.echo", "colour": 1},
    {"kind": "door.echo", "priority": 5},
    {"kind": "door.echo", "max_attempts": 0},
    {"kind": "door.echo", "timeout_s": 0},
    {"kind": "door.echo", "queue": "a b"},
    {"kind": "door.echo", "tags": ["a b"]},
    {"kind": "door.echo", "meta": 5},
    {"kind": "door.echo", "run_at": "soon"},
    {"kind": "door.echo", "run_at": "2030-01-01T00:00:00Z", "delay_s": 1},
    {"kind": "door.once", "args": {"to": "a"}, "unique": {"by": ["nobody"]}},
    {"kind": "door.once", "args": {"to": "a"}, "unique": {}, "unique_key": "k"},
    {"kind": "door.once", "args": {"to": "a"}, "unique_key": "k" * 201},
    {"kind": "door.once", "args": {"to": "taken"}, "unique": {"by": ["to"], "on_duplicate": "refuse"}},
    {"kind": "door.keyed", "args": {"user": 1}},
    {"kind": "door.keyed", "args": {}, "queue": "default"},
    {"kind": "door.echo", "sequence_key": ""},
    {"kind": "door.echo", "sequence_on_failure": "stop"},
    {"kind": "door.echo", "depends_on": ["no id"]},
    {"kind": "door.echo", "depends_on": [str(UUID(int=7))]},
    {"kind": "door.echo", "on_parent_failure": "run"},
]


@pytest.mark.parametrize("bad", BAD, ids=[f"{n} {row['kind']}" for n, row in enumerate(BAD)])
async def test_a_refusal_is_an_answer_with_the_code_that_rest_has(
    platform: Platform, app: asyncpg.Connection, bad: dict[str, Any]
) -> None:
    await platform.queues.put("keyed", QueuePolicyChange(max_backlog=1))
    await submit(platform, "door.keyed", {"user": 1})
    await submit(platform, "door.once", {"to": "taken"})
    async with app.transaction():
        said = await call(app, ECHO, ONCE, bad)
        assert (said.keys(), said["index"]) == ({"error", "error_zh", "index"}, 2)
        assert len(await call(app, ECHO)) == 1
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 3
    options = {name: value for name, value in bad.items() if name not in {"kind", "args"}}
    with pytest.raises(TaskmillError) as caught:
        await platform.submit.submit(request_of(bad["kind"], bad.get("args"), options))
    told = refused(msgspec.convert(said, Refused), [])
    codes = {told.code, caught.value.code}
    # 参数的样式由领取它的工作进程查；别的两边都查得出
    assert len(codes) == 1 or codes in ({"ARGS_INVALID", "INVALID_REQUEST"}, {"ARGS_INVALID", "ARGS_TOO_LARGE"})
    assert type(told) is type(caught.value)


@pytest.mark.parametrize("requests", ["{}", "5", "[5]", "[[]]", "null"])
async def test_what_is_no_list_of_requests_is_refused(app: asyncpg.Connection, requests: str) -> None:
    raw = await app.fetchval("select taskmill.submit_tasks($1::text::jsonb)::text", requests)
    assert msgspec.json.decode(raw)["error"].startswith("INVALID_REQUEST: ")


async def test_ten_thousand_and_no_more(platform: Platform, app: asyncpg.Connection) -> None:
    assert "error" in await call(app, *[ECHO] * 10_001)
    assert len(await call(app, *[ECHO] * 10_000)) == 10_000


async def test_a_key_in_an_open_transaction_is_waited_for_a_second(platform: Platform, app: asyncpg.Connection) -> None:
    async with platform.database.pool.acquire() as other, other.transaction():
        await other.fetchval("select taskmill.submit_tasks($1)", msgspec.json.encode([ONCE]))
        said = await call(app, ECHO, ONCE)
        assert (said["error"].partition(":")[0], said["index"]) == ("UNIQUE_BUSY", 1)


@pytest.mark.parametrize("there", [True, False], ids=["known sequence", "new sequence"])
async def test_a_sequence_in_an_open_transaction_is_told_from_a_key(
    platform: Platform, app: asyncpg.Connection, there: bool
) -> None:
    held = {**ONCE, "sequence_key": "held"}
    if there:
        await call(app, {**ECHO, "sequence_key": "held"})
    async with platform.database.pool.acquire() as other, other.transaction():
        await other.fetchval("select taskmill.submit_tasks($1)", msgspec.json.encode([held]))
        for asked, code in (
            ({**ECHO, "sequence_key": "held"}, "SEQUENCE_BUSY"),
            ({**held, "args": {"to": "b"}}, "SEQUENCE_BUSY"),
            ({**ONCE, "sequence_key": "free"}, "UNIQUE_BUSY"),
            (ONCE, "UNIQUE_BUSY"),
        ):
            said = await call(app, ECHO, asked)
            assert (said["error"].partition(":")[0], said["index"]) == (code, 1)


async def test_only_whom_it_was_granted_to_may_call_it(platform: Platform, database_url: str) -> None:
    async with connected(database_url, GRANTS[0]) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await call(connection, ECHO)


async def test_the_requests_of_the_service_are_those_of_the_function(platform: Platform, app: asyncpg.Connection) -> None:
    """Every field of SubmitRequest, encoded as the door does it, is one that the function takes."""
    parent = await submit(platform, "door.echo")
    request = SubmitRequest(kind="door.once", args={"to": "a"}, version=1, queue="q", priority=1, delay_s=1.0, max_attempts=2,
                            timeout_s=1.5, tags=["x"], unique=Unique(by=["to"]), concurrency_key="c", meta={"a": 1},
                            sequence_key="s", sequence_on_failure="stop", depends_on=[parent], on_parent_failure="run")  # fmt: skip
    raw = await app.fetchval(
        "select taskmill.submit_tasks($1::text::jsonb)::text",
        msgspec.json.encode([request, SubmitRequest(kind="door.echo")]).decode(),
    )
    first, _ = msgspec.json.decode(raw)
    row = await live(platform, first["id"])
    assert row is not None
    assert (row["queue"], row["priority"], row["timeout_ms"], row["tags"], row["concurrency_key"]) == (
        "q",
        1,
        1500,
        ["x"],
        "c",
    )
