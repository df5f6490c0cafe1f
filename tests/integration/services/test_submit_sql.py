"""`taskmill.submit_task`: a submit in the caller's transaction, by SQL, with no right on the tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from taskmill import Concurrency, Fairness, Unique, task
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.engine.periodic.limiter import Limiter
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from tests.support.engines import decoded, final, live, platform_of, running, stage
from tests.support.roles import connected

pytestmark = pytest.mark.anyio
GRANTS = (
    "grant usage on schema taskmill to {role}",
    "grant execute on function taskmill.submit_task(text, jsonb, jsonb) to {role}",
)


@task("shop.mail", queue="mail", priority=3, timeout=7, concurrency=Concurrency(key="c-{user.id}"))
async def mail(to: str = "", user: dict[str, int] | None = None) -> str:
    return to


@task("shop.once", unique=Unique(by=["to"]))
async def once(to: str, text: str = "") -> str:
    return to


@task("shop.report", queue="reports", fairness=Fairness(key="{tenant}"))
async def report(tenant: str = "", of: int = 0) -> None: ...


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, mail, once, report) as made:
        yield made


@pytest.fixture
async def app(platform: Platform, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an application that may call the function and nothing else."""
    async with connected(database_url, *GRANTS) as connection:
        yield connection


async def call(connection: Any, kind: str, args: Any, **options: Any) -> UUID:
    given = msgspec.json.encode(args).decode(), msgspec.json.encode(options).decode()
    return await connection.fetchval("select taskmill.submit_task($1, $2::text::jsonb, $3::text::jsonb)", kind, *given)


async def test_a_task_is_made_with_the_defaults_of_its_kind_and_ticketed_by_the_stager(
    platform: Platform, app: asyncpg.Connection
) -> None:
    made = await call(app, "shop.mail", {"to": "a", "user": {"id": 7}}, tags=["x"], meta={"m": 1})
    row = await live(platform, made)
    assert row is not None
    found = {
        name: row[name] for name in ("queue", "priority", "timeout_ms", "state", "tags", "concurrency_key", "ticket_at")
    }
    assert found == {"queue": "mail", "priority": 3, "timeout_ms": 7000, "state": "available", "tags": ["x"],
                     "concurrency_key": "c-7", "ticket_at": None}  # fmt: skip
    assert decoded(row["args"]) == {"to": "a", "user": {"id": 7}}
    assert row["created_by"].startswith("sql:")
    assert made.version == 7
    assert (await stage(platform))["fed"] == 1


async def test_rolled_back_means_that_nothing_happened_not_even_a_key_taken(
    platform: Platform, app: asyncpg.Connection
) -> None:
    transaction = app.transaction()
    await transaction.start()
    gone = await call(app, "shop.once", {"to": "a"}, unique={"by": ["to"], "period_s": 60})
    await transaction.rollback()
    assert await live(platform, gone) is None
    assert not (await platform.submit.submit(SubmitRequest(kind="shop.once", args={"to": "a"}))).duplicate


@pytest.mark.parametrize(
    "rule", [{}, {"by": ["to"]}, {"by": []}, {"key": "k"}, {"by": ["to", "text"]}, {"period_s": 60}], ids=str
)
async def test_the_key_is_the_same_by_sql_and_by_the_service(
    platform: Platform, app: asyncpg.Connection, rule: dict[str, Any]
) -> None:
    args = {"to": "é", "text": "x"}
    first = await call(app, "shop.once", args, unique=rule)
    request = SubmitRequest(kind="shop.once", args=args, unique=Unique(**rule))
    assert (await platform.submit.submit(request)).id == first
    assert await call(app, "shop.once", {"text": "x", "to": "é"}, unique=rule) == first


async def test_a_replacing_duplicate_and_one_that_wants_to_be_refused(platform: Platform, app: asyncpg.Connection) -> None:
    first = await call(app, "shop.once", {"to": "a"})
    assert (
        await call(app, "shop.once", {"to": "a", "text": "b"}, unique={"by": ["to"], "on_duplicate": "replace"}, delay_s=60)
        == first
    )
    row = await live(platform, first)
    assert row is not None
    assert (decoded(row["args"]), row["state"]) == ({"to": "a", "text": "b"}, "scheduled")
    with pytest.raises(asyncpg.InvalidParameterValueError, match=f"UNIQUE_TAKEN.*{first}"):
        await call(app, "shop.once", {"to": "a"}, unique={"by": ["to"], "on_duplicate": "refuse"})


async def test_in_a_queue_with_limits_it_lines_up_and_a_full_one_refuses(
    platform: Platform, app: asyncpg.Connection
) -> None:
    await platform.queues.put("mail", QueuePolicyChange(max_running_per_key=1, max_backlog=2))
    made = [await call(app, "shop.mail", {"user": {"id": 7}}) for _ in range(2)]
    rows = [await live(platform, each) for each in made]
    assert [row is not None and row["slot"] for row in rows] == [0, 0]
    with pytest.raises(asyncpg.InvalidParameterValueError, match="QUEUE_FULL"):
        await call(app, "shop.mail", {"user": {"id": 7}})


async def test_a_task_with_a_fairness_key_lines_up_for_its_turn(platform: Platform, app: asyncpg.Connection) -> None:
    first = await call(app, "shop.report", {"tenant": "a"})
    other = await call(app, "shop.report", {"tenant": "a"}, fairness_key="b")
    later = await call(app, "shop.report", {"tenant": "a"}, delay_s=60)
    await platform.queues.put("mail", QueuePolicyChange(max_running_per_key=1))
    held = await call(app, "shop.mail", {"user": {"id": 7}}, fairness_key="c")
    rows = [await live(platform, each) for each in (first, other, later, held)]
    assert [row and (row["fairness_key"], row["slot"]) for row in rows] == [("a", 3), ("b", 3), ("a", None), ("c", 0)]
    await Limiter(platform.database, platform.promoter).run_once()
    row = await live(platform, first)
    assert row is not None
    assert (row["slot"], row["ticket_at"] is None) == (2, False)


async def test_a_key_in_an_open_transaction_is_waited_for_a_second(
    platform: Platform, app: asyncpg.Connection, database_url: str
) -> None:
    async with platform.database.pool.acquire() as other, other.transaction():
        await call_as_owner(other, "shop.once", {"to": "a"})
        with pytest.raises(asyncpg.LockNotAvailableError):
            await call(app, "shop.once", {"to": "a"})
        await call(app, "shop.once", {"to": "b"})


async def test_an_open_transaction_holds_up_nobody_else_in_its_queue(platform: Platform, app: asyncpg.Connection) -> None:
    await platform.queues.put("mail", QueuePolicyChange(max_running=1, rate=Rate(limit=1, period_s=60), max_backlog=5))
    async with platform.database.pool.acquire() as other, other.transaction():
        await call_as_owner(other, "shop.mail", {"user": {"id": 7}})
        await call(app, "shop.mail", {"user": {"id": 7}})
        await platform.submit.submit(SubmitRequest(kind="shop.mail", args={"user": {"id": 7}}))
        given = await platform.promoter.give([("mail", None)])
        assert sum(map(len, given.tickets.values())) == 1


async def test_no_queue_is_made_beyond_the_limit(platform: Platform, app: asyncpg.Connection) -> None:
    await platform.database.pool.execute(
        "insert into taskmill.queues (name) select 'q-' || n from generate_series(1, 20000 - (select count(*) from taskmill.queues)) n"
    )
    with pytest.raises(asyncpg.InvalidParameterValueError, match=r"QUEUE_LIMIT.*: one-more"):
        await call(app, "shop.mail", {"user": {"id": 7}}, queue="one-more")
    await call(app, "shop.mail", {"user": {"id": 7}}, queue="q-1")


async def call_as_owner(connection: Any, kind: str, args: Any) -> None:
    await connection.fetchval("select taskmill.submit_task($1, $2)", kind, msgspec.json.encode(args))


BAD: list[tuple[str, Any, dict[str, Any], str]] = [
    ("shop.none", {}, {}, "KIND_NOT_FOUND"),
    ("shop.mail", [], {}, "ARGS_INVALID"),
    ("shop.mail", {"to": "x" * 262_144}, {}, "ARGS_INVALID"),
    ("shop.mail", {"user": {"id": 1}}, {"colour": 1}, "options.colour"),
    ("shop.mail", {"user": {"id": 1}}, {"priority": 5}, "options.priority"),
    ("shop.mail", {"user": {"id": 1}}, {"priority": "1"}, "options.priority"),
    ("shop.mail", {"user": {"id": 1}}, {"max_attempts": 1.5}, "options.max_attempts"),
    ("shop.mail", {"user": {"id": 1}}, {"timeout_s": 0}, "options.timeout_s"),
    ("shop.mail", {"user": {"id": 1}}, {"queue": "a b"}, "options.queue"),
    ("shop.mail", {"user": {"id": 1}}, {"tags": ["a b"]}, "options.tags"),
    ("shop.mail", {"user": {"id": 1}}, {"tags": ["a"] * 21}, "options.tags"),
    ("shop.mail", {"user": {"id": 1}}, {"meta": 5}, "options.meta"),
    ("shop.mail", {"user": {"id": 1}}, {"unique": {"while": "ever"}}, "options.unique"),
    ("shop.mail", {"user": {"id": 1}}, {"unique": {"by": ["nobody"]}}, "the args have no nobody"),
    ("shop.mail", {"user": {"id": 1}}, {"unique": {"by": ["user.name"]}}, "the args have no user.name"),
    ("shop.mail", {"user": {"id": 1}}, {"unique": {}, "unique_key": "k"}, "options.unique_key"),
    ("shop.mail", {"user": {"id": 1}}, {"unique_key": "k" * 201}, "options.unique_key"),
    ("shop.mail", {"user": {"id": 1}}, {"run_at": "2030-01-01T00:00:00Z", "delay_s": 1}, "options.delay_s"),
    ("shop.mail", {"to": "a"}, {}, "concurrency_key: the args have no user.id"),
    ("shop.report", {}, {}, "fairness_key: the args have no tenant"),
    ("shop.mail", {"user": {"id": 1}}, {"fairness_key": ""}, "options.fairness_key"),
    ("shop.mail", {"user": {"id": 1}}, {"fairness_key": 7}, "options.fairness_key"),
]


@pytest.mark.parametrize(("kind", "args", "options", "words"), BAD, ids=[f"{n} {row[3]}" for n, row in enumerate(BAD)])
async def test_what_does_not_fit_is_named_and_the_transaction_goes_on_after_a_savepoint(
    platform: Platform, app: asyncpg.Connection, kind: str, args: Any, options: dict[str, Any], words: str
) -> None:
    async with app.transaction():
        with pytest.raises(asyncpg.InvalidParameterValueError) as caught:
            async with app.transaction():
                await call(app, kind, args, **options)
        assert words in str(caught.value)
        assert caught.value.detail
        made = await call(app, "shop.once", {"to": "a"})
    assert await live(platform, made) is not None
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 1


async def test_the_role_may_do_nothing_else(app: asyncpg.Connection) -> None:
    for statement in ("select 1 from taskmill.tasks", "select taskmill.submit_checked('{}')", "delete from taskmill.queues"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


async def test_args_that_only_the_schema_refuses_are_discarded_at_the_claim_and_a_good_task_runs(
    database_url: str, broker_url: str
) -> None:
    async with running(database_url, broker_url, once) as platform:
        async with platform.database.pool.acquire() as connection:
            bad = await connection.fetchval(
                "select taskmill.submit_task('shop.once', $1, $2)", b'{"to": 5}', b'{"unique": null}'
            )
            good = await connection.fetchval("select taskmill.submit_task('shop.once', $1)", b'{"to": "a"}')
        row = await final(platform, bad)
        assert (row["state"], row["attempt"]) == ("discarded", 1)
        assert "ARGS_INVALID" in decoded(row["error"])["message"]
        assert (await final(platform, good))["state"] == "completed"


async def test_a_transaction_that_stays_open_delays_nobody_else(platform: Platform, app: asyncpg.Connection) -> None:
    transaction = app.transaction()
    await transaction.start()
    await call(app, "shop.mail", {"user": {"id": 1}}, queue="fresh")
    async with asyncio.timeout(5):
        await platform.submit.submit(SubmitRequest(kind="shop.mail", args={"user": {"id": 1}}))
    await transaction.rollback()
