"""The way in: what is accepted is stored before the answer, what is wrong is named, nothing is half done."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from taskmill import constants as c
from taskmill import task
from taskmill.errors import Code, InputError, NotFoundError, TaskmillError, UnavailableError
from taskmill.services import constants as svc
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.database import DATA_ERRORS
from taskmill.stores.tasks.submit import NewTask
from tests.conftest import PostgresFactory
from tests.support.engines import decoded, history, live, platform_of, registry_of, stage, submit
from tests.support.platforms import opened
from tests.support.proxy import Proxy

pytestmark = pytest.mark.anyio
EARLIEST = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
NAIVE = datetime(2030, 1, 1)


class Address(msgspec.Struct):
    city: str


@task("shop.send", queue="mail", priority=3, timeout=7)
async def send(to: str, count: int = 1, where: Address | None = None) -> None: ...


@task("shop.any")
async def anything(data: Any = None) -> None: ...


def nested(levels: int) -> dict[str, Any]:
    """`levels` containers in all, the args object included."""
    core: Any = 1
    for _ in range(levels - 1):
        core = [core]
    return {"data": core}


BAD: list[tuple[str, dict[str, Any], Code, dict[str, Any]]] = [
    ("unknown kind", {"kind": "shop.nothing"}, Code.KIND_NOT_FOUND, {"kind": "shop.nothing"}),
    ("unknown version", {"version": 9}, Code.KIND_NOT_FOUND, {"kind": "shop.any:9"}),
    ("kind without shape", {"kind": "../etc"}, Code.INVALID_REQUEST, {"field": "kind"}),
    ("kind with NUL", {"kind": "a.b\x00"}, Code.INVALID_REQUEST, {"field": "kind"}),
    ("missing field", {"kind": "shop.send", "args": {}}, Code.ARGS_INVALID, {"field": "args"}),
    ("wrong type", {"kind": "shop.send", "args": {"to": 5}}, Code.ARGS_INVALID, {"field": "args.to"}),
    ("wrong deep", {"kind": "shop.send", "args": {"to": "a", "where": {"city": 1}}}, Code.ARGS_INVALID, {}),
    ("unknown field", {"kind": "shop.send", "args": {"to": "a", "x": 1}}, Code.ARGS_INVALID, {"field": "args"}),
    ("args a list", {"args": [1]}, Code.ARGS_INVALID, {"field": "args"}),
    ("args null", {"args": None}, Code.ARGS_INVALID, {"field": "args"}),
    ("NUL", {"args": {"data": ["a\x00"]}}, Code.ARGS_INVALID, {"field": "args.data[0]"}),
    ("NUL in a key", {"args": {"data": {"\x00": 1}}}, Code.ARGS_INVALID, {"field": "args.data"}),
    ("lone surrogate", {"args": {"data": "\ud800"}}, Code.ARGS_INVALID, {"field": "args"}),
    ("depth 65", {"args": nested(65)}, Code.ARGS_TOO_DEEP, {"field": "args", "limit": 64}),
    (
        "one byte too many",
        {"args": {"data": "x" * (c.ARGS_MAX_BYTES - 10)}},
        Code.ARGS_TOO_LARGE,
        {"size": c.ARGS_MAX_BYTES + 1},
    ),
    ("negative delay", {"delay_s": -0.001}, Code.INVALID_REQUEST, {"field": "delay_s"}),
    ("delay not a number", {"delay_s": float("nan")}, Code.INVALID_REQUEST, {"field": "delay_s"}),
    ("delay without end", {"delay_s": float("inf")}, Code.INVALID_REQUEST, {"field": "delay_s"}),
    ("delay and run_at", {"delay_s": 1, "run_at": datetime.now(UTC)}, Code.INVALID_REQUEST, {"field": "delay_s"}),
    ("run_at without zone", {"run_at": NAIVE}, Code.INVALID_REQUEST, {"field": "run_at"}),
    ("run_at out of range", {"run_at": EARLIEST}, Code.INVALID_REQUEST, {"field": "run_at"}),
    ("expires_at without zone", {"expires_at": NAIVE}, Code.INVALID_REQUEST, {"field": "expires_at"}),
    ("priority 0", {"priority": 0}, Code.INVALID_REQUEST, {"field": "priority"}),
    ("priority 5", {"priority": 5}, Code.INVALID_REQUEST, {"field": "priority"}),
    ("no attempts", {"max_attempts": 0}, Code.INVALID_REQUEST, {"field": "max_attempts"}),
    ("too many attempts", {"max_attempts": c.MAX_ATTEMPTS_LIMIT + 1}, Code.INVALID_REQUEST, {"field": "max_attempts"}),
    ("no time", {"timeout_s": 0}, Code.INVALID_REQUEST, {"field": "timeout_s"}),
    ("too much time", {"timeout_s": c.TIMEOUT_MAX_S + 1}, Code.INVALID_REQUEST, {"field": "timeout_s"}),
    ("queue with braces", {"queue": "a{b}"}, Code.INVALID_REQUEST, {"field": "queue"}),
    ("queue with NUL", {"queue": "a\x00"}, Code.INVALID_REQUEST, {"field": "queue"}),
    ("queue with newline", {"queue": "a\n"}, Code.INVALID_REQUEST, {"field": "queue"}),
    ("queue too long", {"queue": "q" * (c.NAME_MAX_CHARS + 1)}, Code.INVALID_REQUEST, {"field": "queue"}),
    ("too many tags", {"tags": ["t"] * (svc.TAGS_MAX + 1)}, Code.INVALID_REQUEST, {"field": "tags"}),
    ("tag with space", {"tags": ["ok", "a b"]}, Code.INVALID_REQUEST, {"field": "tags[1]"}),
    ("tag with separator", {"tags": ["a\x1fb"]}, Code.INVALID_REQUEST, {"field": "tags[0]"}),
    ("tag with surrogate", {"tags": ["\ud800"]}, Code.INVALID_REQUEST, {"field": "tags[0]"}),
    ("tag with C1", {"tags": ["a\x9b2J"]}, Code.INVALID_REQUEST, {"field": "tags[0]"}),
    ("tag with DEL", {"tags": ["a\x7f"]}, Code.INVALID_REQUEST, {"field": "tags[0]"}),
    ("tag that turns the line round", {"tags": ["ok", "a\u202eb"]}, Code.INVALID_REQUEST, {"field": "tags[1]"}),
    ("empty tag", {"tags": [""]}, Code.INVALID_REQUEST, {"field": "tags[0]"}),
    ("meta with NUL", {"meta": {"a": "\x00"}}, Code.ARGS_INVALID, {"field": "meta.a"}),
    ("meta too large", {"meta": {"a": "x" * c.META_MAX_BYTES}}, Code.ARGS_TOO_LARGE, {"field": "meta"}),
]


@pytest.mark.parametrize(("options", "code", "details"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_bad_input_is_named_and_nothing_is_stored(
    database_url: str, broker_url: str, options: dict[str, Any], code: Code, details: dict[str, Any]
) -> None:
    async with platform_of(database_url, broker_url, send, anything) as platform:
        with pytest.raises((InputError, NotFoundError)) as caught:
            await platform.submit.submit(msgspec.structs.replace(SubmitRequest(kind="shop.any"), **options))
        assert caught.value.code is code
        assert {key: caught.value.details[key] for key in details} == details
        if code in {Code.ARGS_INVALID, Code.INVALID_REQUEST}:
            assert caught.value.details["reason"]
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("depth 64", {"args": nested(64)}),
    ("largest args", {"args": {"data": "x" * (c.ARGS_MAX_BYTES - 11)}}),
    ("longest queue", {"queue": "q" * c.NAME_MAX_CHARS}),
    ("odd but fine text", {"args": {"data": "\\u0000 \u2028 🙂 \x1b"}}),
    ("most tags", {"tags": [f"t{n}" for n in range(svc.TAGS_MAX)]}),
    ("run_at long ago", {"run_at": datetime(1970, 1, 1, tzinfo=UTC)}),
    ("longest delay", {"delay_s": c.DELAY_MAX_S}),
    ("huge number", {"args": {"data": [0.1, -(2**63), 2**64 - 1]}}),
    ("meta", {"meta": {"trace": "x"}}),
]


@pytest.mark.parametrize("options", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
async def test_what_is_just_within_the_limits_is_stored_as_given(
    database_url: str, broker_url: str, options: dict[str, Any]
) -> None:
    async with platform_of(database_url, broker_url, send, anything) as platform:
        row = await live(platform, await submit(platform, "shop.any", **options))
        assert row is not None
        assert decoded(row["args"]) == options.get("args", {})
        assert decoded(row["meta"]) == options.get("meta")
        assert (row["tags"] or []) == options.get("tags", [])


async def test_defaults_come_from_the_kind_and_the_request_wins(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, send) as platform:
        plain = await live(platform, await submit(platform, "shop.send", {"to": "a"}))
        chosen = await live(
            platform,
            await submit(platform, "shop.send", {"to": "a"}, queue="fast", priority=1, timeout_s=0.5, max_attempts=2),
        )
        assert plain is not None
        assert chosen is not None
        assert (plain["queue"], plain["priority"], plain["timeout_ms"], plain["max_attempts"]) == ("mail", 3, 7_000, 5)
        assert (chosen["queue"], chosen["priority"], chosen["timeout_ms"], chosen["max_attempts"]) == ("fast", 1, 500, 2)


@pytest.mark.parametrize(
    ("options", "state"), [({}, "available"), ({"delay_s": 60}, "scheduled"), ({"delay_s": 0}, "available")]
)
async def test_the_answer_tells_what_the_database_decided(
    database_url: str, broker_url: str, options: dict[str, Any], state: str
) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        done = await platform.submit.submit(SubmitRequest(kind="shop.any", **options))
        row = await live(platform, done.id)
        assert row is not None
        assert (done.state, done.run_at, done.queue) == (row["state"], row["run_at"], row["queue"])
        assert done.state == state


async def test_an_unknown_kind_is_accepted_where_that_is_allowed(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, allow_unknown_kinds=True) as platform:
        row = await live(platform, await submit(platform, "future.kind", {"x": 1}))
        assert row is not None
        assert (row["kind_version"], row["queue"]) == (1, c.QUEUE_DEFAULT)


async def test_concurrent_submits_share_commits(database_url: str, broker_url: str) -> None:
    commits = """
        select count(distinct xmin::text) from taskmill.tasks
    """
    async with platform_of(database_url, broker_url, anything) as platform:
        await submit(platform, "shop.any")
        done = await asyncio.gather(*(submit(platform, "shop.any", {"data": n}) for n in range(300)))
        assert len(set(done)) == 300
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 301
        assert await platform.database.pool.fetchval(commits) < 30


async def test_one_bad_submit_does_not_hurt_its_neighbours(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, send, anything) as platform:
        wanted = [submit(platform, "shop.send", {"to": "a" if n % 2 else n}) for n in range(20)]
        done = await asyncio.gather(*wanted, return_exceptions=True)
        assert [isinstance(answer, InputError) for answer in done] == [n % 2 == 0 for n in range(20)]
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 10


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("the driver refuses", {"priority": 40_000}),
    ("the server refuses", {"args": b"{not json"}),
]


@pytest.mark.parametrize("broken", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_a_row_that_cannot_be_stored_does_not_hurt_its_group(
    database_url: str, broker_url: str, broken: dict[str, Any]
) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        tasks = [await platform.submit.prepare(SubmitRequest(kind="shop.any", args={"data": n})) for n in range(9)]
        tasks[4] = replace(tasks[4], **broken)
        # 绕过检查，直接进组提交
        wanted = [platform.submit._submit(each) for each in tasks]  # pyright: ignore[reportPrivateUsage]
        done = await asyncio.gather(*wanted, return_exceptions=True)
        assert [n for n, answer in enumerate(done) if isinstance(answer, BaseException)] == [4]
        assert isinstance(done[4], DATA_ERRORS)
        rows = await platform.database.pool.fetch("select id from taskmill.tasks")
        assert {row["id"] for row in rows} == {each.id for each in tasks} - {tasks[4].id}
        await platform.submit.close()
        tickets = "select count(*) from taskmill.tasks where ticket_at is not null"
        assert await platform.database.pool.fetchval(tickets) == 8
        assert (await live(platform, await submit(platform, "shop.any"))) is not None


async def test_an_abandoned_submit_does_not_hurt_its_neighbours(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        await submit(platform, "shop.any")
        leaving = asyncio.create_task(submit(platform, "shop.any"))
        staying = asyncio.create_task(submit(platform, "shop.any"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await live(platform, await staying) is not None


async def test_bulk_is_all_or_nothing_and_names_the_culprit(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, send, anything) as platform:
        requests = [SubmitRequest(kind="shop.any") for _ in range(5)]
        with pytest.raises(InputError) as caught:
            await platform.submit.submit_many([*requests, SubmitRequest(kind="shop.send", args={})])
        assert caught.value.details["index"] == 5
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0


async def test_bulk_answers_in_order_over_several_chunks(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        count = svc.SUBMIT_CHUNK + 7
        done = await platform.submit.submit_many([SubmitRequest(kind="shop.any", args={"data": n}) for n in range(count)])
        rows = await platform.database.pool.fetch("select id, args from taskmill.tasks")
        assert {row["id"]: decoded(row["args"])["data"] for row in rows} == {d.id: n for n, d in enumerate(done)}


async def test_bulk_has_a_limit(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything, batch_max_tasks=3) as platform:
        await platform.submit.submit_many([SubmitRequest(kind="shop.any")] * 3)
        with pytest.raises(InputError) as caught:
            await platform.submit.submit_many([SubmitRequest(kind="shop.any")] * 4)
        assert caught.value.code is Code.BATCH_TOO_LARGE
        assert await platform.submit.submit_many([]) == []


class Watched:
    """Tasks that look, each time one is asked for, how many of those before are still there."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.alive: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[SubmitRequest]:
        for n in range(self.count):
            self.alive.append(sum(isinstance(each, SubmitRequest) for each in gc.get_objects()))
            yield SubmitRequest(kind="shop.any", args={"data": [n]})


async def test_bulk_lets_go_of_each_task_before_it_asks_for_the_next(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        watched = Watched(4)
        await platform.submit.submit_many(watched)
        assert watched.alive == watched.alive[:1] * 4


async def test_what_goes_wrong_while_bulk_asks_for_a_task_is_named_by_its_index_too(
    database_url: str, broker_url: str
) -> None:
    class Broken(Watched):
        def __iter__(self) -> Iterator[SubmitRequest]:
            yield from super().__iter__()
            raise InputError(Code.INVALID_REQUEST, field="tasks[2].kind", reason="x")

    async with platform_of(database_url, broker_url, anything) as platform:
        with pytest.raises(InputError) as caught:
            await platform.submit.submit_many(Broken(2))
        assert caught.value.details["index"] == 2
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0


@pytest.mark.parametrize("together", [True, False], ids=["a batch", "single tasks"])
async def test_a_send_of_tickets_that_hangs_does_not_hold_the_args(
    database_url: str, broker_url: str, together: bool
) -> None:
    async with Proxy(broker_url) as proxy, platform_of(database_url, proxy.url, anything) as platform:
        requests = [SubmitRequest(kind="shop.any", args={"data": [n]}, meta={"n": n}) for n in range(3)]
        await platform.submit.submit_many(requests)
        await platform.submit.close()
        proxy.hole = True
        proxy.freeze()
        if together:
            done = await platform.submit.submit_many(requests)
        else:
            done = await asyncio.gather(*map(platform.submit.submit, requests))
        assert platform.submit._sending  # pyright: ignore[reportPrivateUsage]
        ids = {each.id for each in done}
        held = [each for each in gc.get_objects() if isinstance(each, NewTask) and each.id in ids]
        assert len(held) == 3
        assert [(each.args, each.meta) for each in held] == [(b"", None)] * 3
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks where args <> '{}'") == 6


async def test_a_schema_that_changed_is_seen(database_url: str, broker_url: str) -> None:
    @task("shop.late")
    async def late() -> None: ...

    async with platform_of(database_url, broker_url, anything) as platform:
        await submit(platform, "shop.any")
        async with platform_of(database_url, broker_url, late):
            assert await submit(platform, "shop.late")


async def test_a_task_waits_in_postgresql_while_valkey_is_away(database_url: str) -> None:
    async with opened(database_url, "redis://127.0.0.1:1/0", plugins=registry_of(anything)) as platform:
        done = await platform.submit.submit(SubmitRequest(kind="shop.any"))
        await platform.submit.close()
        row = await live(platform, done.id)
        assert row is not None
        assert (row["state"], row["ticket_at"]) == ("available", None)


async def test_postgresql_away_is_said_and_submits_work_again_afterwards(
    own_postgres: PostgresFactory, broker_url: str
) -> None:
    server = own_postgres()
    async with platform_of(server.url, broker_url, anything) as platform:
        await submit(platform, "shop.any")
        await asyncio.to_thread(server.kill)
        answers = await asyncio.gather(*(submit(platform, "shop.any") for _ in range(5)), return_exceptions=True)
        assert {getattr(a, "code", a) for a in answers} == {Code.DATABASE_UNAVAILABLE}
        assert all(isinstance(a, UnavailableError) for a in answers)
        await asyncio.to_thread(server.restart)
        assert await live(platform, await submit(platform, "shop.any")) is not None


async def test_the_caller_may_store_in_its_own_transaction(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        kept = await platform.submit.prepare(SubmitRequest(kind="shop.any"))
        dropped = await platform.submit.prepare(SubmitRequest(kind="shop.any"))
        async with platform.database.transaction() as connection:
            await platform.submit.store(connection, [kept])

        async def change_of_mind() -> None:
            async with platform.database.transaction() as connection:
                await platform.submit.store(connection, [dropped])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await change_of_mind()
        assert await live(platform, dropped.id) is None
        assert (await stage(platform))["fed"] == 1
        row = await live(platform, kept.id)
        assert row is not None
        assert row["ticket_at"] is not None


async def test_a_past_expiry_is_not_an_error_but_the_task_never_runs(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        task_id = await submit(platform, "shop.any", expires_at=datetime.now(UTC) - timedelta(seconds=1))
        assert (await stage(platform))["expired"] == 1
        row = await history(platform, task_id)
        assert row is not None
        assert row["state"] == "discarded"


def test_every_refusal_has_words_in_both_languages() -> None:
    error = TaskmillError(Code.ARGS_INVALID, field="args.to", reason="x", kind="shop.send")
    assert "args.to" in str(error)


@pytest.mark.parametrize(
    ("request_", "known"),
    [({"kind": "shop.anny"}, "shop.any"), ({"kind": "shop.any", "version": 9}, "shop.any:"), ({"kind": "zzz.qqq"}, "")],
)
async def test_an_unknown_kind_is_met_with_the_ones_that_are_close(
    database_url: str, broker_url: str, request_: dict[str, Any], known: str
) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        with pytest.raises(NotFoundError) as caught:
            await platform.submit.submit(SubmitRequest(**request_))
        hint = caught.value.hint()
        assert hint is not None
        assert "taskmill plugin kinds" in hint["en"]
        assert known in hint["en"]
        assert known in hint["zh"]
