"""Unique tasks: the index decides who is a duplicate, under every race, and a key is held as long as it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from taskmill import Unique, task
from taskmill.controls.unique import PERIOD_S
from taskmill.engine.periodic.pruner import Pruner
from taskmill.errors import Code, ConflictError, InputError, UnavailableError
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.services.tasks.submitted import Submitted
from tests.support.engines import decoded, final, history, live, platform_of, running, submit
from tests.support.platforms import catalog

pytestmark = pytest.mark.anyio
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@task("shop.mail")
async def mail(to: str, text: str = "", user: dict[str, int] | None = None) -> str:
    return f"{to} {text}"


@task("shop.once", unique=Unique(by=["to"]))
async def once(to: str, text: str = "") -> None: ...


@task("shop.bounce", unique=Unique(by=["to"], on_duplicate="replace"))
async def bounce(to: str, text: str = "") -> None: ...


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, mail, once, bounce) as made:
        yield made


async def ask(platform: Platform, kind: str = "shop.mail", to: str = "a", text: str = "", **options: Any) -> Submitted:
    """Submit one task; `unique` may be a dict."""
    if isinstance(options.get("unique"), dict):
        options["unique"] = Unique(**options["unique"])
    return await platform.submit.submit(SubmitRequest(kind=kind, args={"to": to, "text": text}, **options))


async def rows(platform: Platform) -> int:
    """Return how many live tasks there are."""
    return int(await platform.database.pool.fetchval("select count(*) from taskmill.tasks"))


SAME: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("all args", {"unique": {}}, {"unique": {}}, True),
    ("other args", {"unique": {}}, {"unique": {}, "text": "b"}, False),
    ("by one", {"unique": {"by": ["to"]}}, {"unique": {"by": ["to"]}, "text": "b"}, True),
    ("by one that differs", {"unique": {"by": ["to"]}}, {"unique": {"by": ["to"]}, "to": "b"}, False),
    ("by an optional one that nobody gave", {"unique": {"by": ["user"]}}, {"unique": {"by": ["user"]}, "to": "b"}, True),
    ("by the kind alone", {"unique": {"by": []}}, {"unique": {"by": []}, "to": "b"}, True),
    ("key", {"unique_key": "k"}, {"unique_key": "k", "to": "b"}, True),
    ("key in unique", {"unique_key": "k"}, {"unique": {"key": "k"}}, True),
    ("other key", {"unique_key": "k"}, {"unique_key": "K"}, False),
    ("key of 200 characters", {"unique_key": "k" * 200}, {"unique_key": "k" * 200}, True),
    ("an ordinary one is nobody's duplicate", {"unique": {}}, {}, False),
    ("kind's own", {"kind": "shop.once"}, {"kind": "shop.once", "text": "b"}, True),
    ("kind's own switched off", {"kind": "shop.once"}, {"kind": "shop.once", "unique": None}, False),
    (
        "kind's own by a key",
        {"kind": "shop.once", "unique_key": "k"},
        {"kind": "shop.once", "unique_key": "k", "to": "b"},
        True,
    ),
    ("queue and time do not count", {"unique": {}}, {"unique": {}, "queue": "other", "run_at": LATER}, True),
]


@pytest.mark.parametrize(("first", "second", "same"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
async def test_the_key_is_made_of_what_was_named(
    platform: Platform, first: dict[str, Any], second: dict[str, Any], same: bool
) -> None:
    one, two = await ask(platform, **first), await ask(platform, **second)
    assert not one.duplicate
    assert two.duplicate is same
    assert (two.id == one.id) is same
    assert await rows(platform) == (1 if same else 2)


async def test_the_order_of_names_and_the_writing_of_json_do_not_matter(platform: Platform) -> None:
    first = await submit(platform, "shop.mail", {"to": "a", "text": "é"}, unique=Unique())
    assert await submit(platform, "shop.mail", {"text": "\u00e9", "to": "a"}, unique=Unique()) == first


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("both", {"unique": {}, "unique_key": "k"}, "unique_key"),
    ("key and by", {"unique": {"key": "k", "by": ["to"]}}, "unique.by"),
    ("no key", {"unique_key": ""}, "unique_key"),
    ("key of 201 characters", {"unique_key": "k" * 201}, "unique_key"),
    ("key with NUL", {"unique": {"key": "a\x00"}}, "unique.key"),
    ("key with half a character", {"unique_key": "\ud800"}, "unique_key"),
    ("absent arg", {"unique": {"by": ["to", "nobody"]}}, "unique.by[1]"),
    ("absent in an object", {"unique": {"by": ["to.name"]}}, "unique.by[0]"),
    ("empty path", {"unique": {"by": [""]}}, "unique.by[0]"),
    ("21 paths", {"unique": {"by": ["to"] * 21}}, "unique.by"),
    ("period 0", {"unique": {"period_s": 0}}, "unique.period_s"),
    ("period below 0", {"unique": {"period_s": -1}}, "unique.period_s"),
    ("period of no number", {"unique": {"period_s": float("nan")}}, "unique.period_s"),
    ("period over a year", {"unique": {"period_s": PERIOD_S.high + 1}}, "unique.period_s"),
    ("while", {"unique": {"while_": "ever"}}, "unique.while"),
    ("on_duplicate", {"unique": {"on_duplicate": "hope"}}, "unique.on_duplicate"),
]


@pytest.mark.parametrize(("options", "field"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_what_does_not_fit_is_named_and_nothing_is_stored(
    platform: Platform, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        await ask(platform, **options)
    assert (caught.value.code, caught.value.details["field"]) == (Code.INVALID_REQUEST, field)
    assert await rows(platform) == 0


async def test_while_live_the_key_is_free_once_the_task_is_final(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, mail) as platform:
        first = await ask(platform, unique={})
        await final(platform, first.id)
        second = await ask(platform, unique={})
        assert not second.duplicate
        row = await final(platform, second.id)
        assert row["unique_key"] == (await final(platform, first.id))["unique_key"]


async def test_while_waiting_the_key_is_free_once_the_task_was_claimed_and_a_retry_does_not_take_it(
    platform: Platform,
) -> None:
    rule = {"by": ["to"], "while_": "waiting"}
    first = await ask(platform, unique=rule)
    assert (await ask(platform, unique=rule)).id == first.id
    await platform.database.pool.execute("update taskmill.tasks set state = 'running', claim_no = 1 where id = $1", first.id)
    second = await ask(platform, unique=rule)
    assert not second.duplicate
    await platform.database.pool.execute("update taskmill.tasks set state = 'retryable' where id = $1", first.id)
    assert (await ask(platform, unique=rule)).id == second.id
    await platform.tasks.cancel(first.id)
    await platform.tasks.retry(first.id)  # 回来了，但不再占键
    assert (await ask(platform, unique=rule)).id == second.id


async def test_a_waiting_key_is_not_taken_again_by_the_retry_of_a_task_that_never_ran(platform: Platform) -> None:
    rule = {"while_": "waiting"}
    first = await ask(platform, unique=rule)
    await platform.tasks.cancel(first.id)
    await platform.tasks.retry(first.id)
    assert not (await ask(platform, unique=rule)).duplicate


async def test_a_period_holds_the_key_beyond_the_end_and_not_longer(platform: Platform) -> None:
    rule = {"period_s": 3600}
    first = await ask(platform, unique=rule)
    await platform.tasks.cancel(first.id)
    again = await ask(platform, unique=rule)
    assert (again.id, again.state, again.duplicate) == (first.id, "cancelled", True)
    assert (await ask(platform, unique={})).id == first.id  # 不带时限的同一个键也一样
    assert await rows(platform) == 0
    await platform.database.pool.execute("update taskmill.unique_keys set until = now()")
    second = await ask(platform, unique=rule)
    assert not second.duplicate
    held = await platform.database.pool.fetchrow(
        "select task_id, until > now() + interval '59 minutes' as long from taskmill.unique_keys"
    )
    assert held is not None
    assert tuple(held) == (second.id, True)


async def test_keys_of_the_past_are_pruned_with_their_period(platform: Platform) -> None:
    await ask(platform, unique={"period_s": 3600})
    await ask(platform, to="b", unique={"period_s": 3600})
    await platform.database.pool.execute(
        "update taskmill.unique_keys set until = now() where task_id = (select min(task_id::text)::uuid from taskmill.unique_keys)"
    )
    assert (await Pruner(platform.database).run_once())["unique_keys"] == 1
    assert await platform.database.pool.fetchval("select count(*) from taskmill.unique_keys") == 1


async def test_a_duplicate_of_a_pruned_task_says_so_by_having_no_state(platform: Platform) -> None:
    first = await ask(platform, unique={"period_s": 3600})
    await platform.tasks.cancel(first.id)
    await platform.database.pool.execute("delete from taskmill.task_history")
    again = await ask(platform, unique={"period_s": 3600})
    assert (again.id, again.state, again.run_at) == (first.id, None, None)


async def test_replace_gives_the_waiting_task_the_new_args_and_time(platform: Platform) -> None:
    first = await ask(platform, "shop.bounce", text="old", run_at=LATER)
    second = await ask(platform, "shop.bounce", text="new", delay_s=60)
    assert (second.id, second.duplicate, second.replaced, second.state) == (first.id, True, True, "scheduled")
    row = await live(platform, first.id)
    assert row is not None
    assert decoded(row["args"])["text"] == "new"
    assert row["run_at"] < datetime.now(UTC) + timedelta(minutes=2)


async def test_replace_moves_an_available_task_into_the_future_and_takes_its_ticket(platform: Platform) -> None:
    first = await ask(platform, "shop.bounce")
    later = await ask(platform, "shop.bounce", run_at=LATER)
    assert (later.id, later.state) == (first.id, "scheduled")
    row = await live(platform, first.id)
    assert row is not None
    assert row["ticket_at"] is None


async def test_replace_leaves_a_running_task_and_one_of_another_kind_alone(platform: Platform) -> None:
    first = await ask(platform, "shop.bounce", unique_key="k")
    other = await ask(platform, unique={"key": "k", "on_duplicate": "replace"}, text="new")
    assert (other.id, other.duplicate, other.replaced) == (first.id, True, False)
    await platform.database.pool.execute("update taskmill.tasks set state = 'running', claim_no = 1 where id = $1", first.id)
    again = await ask(platform, "shop.bounce", unique_key="k", text="new")
    assert (again.id, again.replaced, again.state) == (first.id, False, "running")


async def test_refuse_names_the_task_that_is_there(platform: Platform) -> None:
    first = await ask(platform, unique={})
    with pytest.raises(ConflictError) as caught:
        await ask(platform, unique={"on_duplicate": "refuse"})
    assert (caught.value.code, caught.value.details["id"]) == (Code.UNIQUE_TAKEN, str(first.id))


async def test_a_batch_finds_its_own_duplicates_and_those_of_others(platform: Platform) -> None:
    there = await ask(platform, to="x", unique={"by": ["to"]})
    batch = [
        SubmitRequest(kind="shop.mail", args={"to": to}, unique=Unique(by=["to"]) if keyed else None)
        for to, keyed in [("a", True), ("a", True), ("x", True), ("a", False), ("b", True)]
    ]
    done = await platform.submit.submit_many(batch)
    assert [each.duplicate for each in done] == [False, True, True, False, False]
    assert done[1].id == done[0].id
    assert done[2].id == there.id
    assert await rows(platform) == 4


async def test_a_batch_with_a_refused_duplicate_stores_nothing_and_names_its_index(platform: Platform) -> None:
    refuse = Unique(by=["to"], on_duplicate="refuse")
    batch = [
        SubmitRequest(kind="shop.mail", args={"to": "z"}),
        SubmitRequest(kind="shop.mail", args={"to": "a"}, unique=refuse),
        SubmitRequest(kind="shop.mail", args={"to": "a"}, unique=refuse),
    ]
    with pytest.raises(ConflictError) as caught:
        await platform.submit.submit_many(batch)
    assert (caught.value.code, caught.value.details["index"]) == (Code.UNIQUE_TAKEN, 2)
    assert await rows(platform) == 0


async def test_the_last_of_a_batch_that_replaces_one_task_counts(platform: Platform) -> None:
    batch = [SubmitRequest(kind="shop.bounce", args={"to": "a", "text": text}) for text in "123"]
    done = await platform.submit.submit_many(batch)
    assert [(each.duplicate, each.replaced) for each in done] == [(False, False), (True, True), (True, True)]
    row = await live(platform, done[0].id)
    assert row is not None
    assert decoded(row["args"])["text"] == "3"


async def test_64_clients_with_one_key_make_one_task_and_63_duplicates(database_url: str, broker_url: str) -> None:
    async with (
        platform_of(database_url, broker_url, mail) as one,
        platform_of(database_url, broker_url, mail) as two,
        platform_of(database_url, broker_url, mail) as three,
    ):
        for number in range(5):
            done = await asyncio.gather(
                *(ask((one, two, three)[n % 3], to=str(number), unique={"by": ["to"]}) for n in range(64))
            )
            assert sorted(each.duplicate for each in done) == [False] + [True] * 63
            assert len({each.id for each in done}) == 1


async def test_batches_with_the_same_keys_in_crossed_order_do_not_wait_for_each_other_in_a_circle(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, mail) as one, platform_of(database_url, broker_url, mail) as two:
        batch = [SubmitRequest(kind="shop.mail", args={"to": str(n)}, unique=Unique()) for n in range(300)]
        done = await asyncio.gather(
            *(each.submit.submit_many(batch[::step]) for each in (one, two) for step in (1, -1) for _ in range(3))
        )
        assert sum(not each.duplicate for part in done for each in part) == 300
        assert await rows(one) == 300


async def test_a_key_in_an_open_transaction_is_told_after_a_second_and_delays_no_stranger(
    platform: Platform, database_url: str
) -> None:
    key = (await ask(platform, to="gone", unique={})).id
    held = await platform.database.pool.fetchval("select unique_key from taskmill.tasks where id = $1", key)
    await platform.tasks.cancel(key)
    async with platform.database.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(
            "insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, unique_key, unique_while)"
            " values (gen_random_uuid(), 'default', 'shop.mail', 'available', '{}', 1000, $1, 'live')",
            held,
        )
        waiting = asyncio.create_task(ask(platform, to="gone", unique={}))
        strangers = await asyncio.gather(*(ask(platform, to=str(n), unique={}) for n in range(50)), ask(platform, to="any"))
        assert not any(each.duplicate for each in strangers)
        assert not waiting.done()
        with pytest.raises(UnavailableError) as caught:
            await waiting
        assert caught.value.code is Code.UNIQUE_BUSY
        with pytest.raises(UnavailableError) as caught:
            await platform.submit.submit_many(
                [SubmitRequest(kind="shop.mail", args={"to": "gone", "text": ""}, unique=Unique())]
            )
        assert caught.value.code is Code.UNIQUE_BUSY
        await transaction.rollback()
    assert not (await ask(platform, to="gone", unique={})).duplicate


async def test_a_key_that_an_open_transaction_gives_up_in_time_is_taken(platform: Platform) -> None:
    async with platform.database.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(
            "insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, unique_key, unique_while)"
            " values (gen_random_uuid(), 'default', 'shop.mail', 'available', '{}', 1000, 'k', 'live')"
        )
        waiting = asyncio.create_task(ask(platform, unique_key="k"))
        await ask(platform, unique_key="another")
        await transaction.rollback()
        assert not (await waiting).duplicate


async def test_a_retry_of_a_task_whose_key_is_taken_is_refused_and_changes_nothing(platform: Platform) -> None:
    first = await ask(platform, unique={})
    await platform.tasks.cancel(first.id)
    second = await ask(platform, unique={})
    with pytest.raises(ConflictError) as caught:
        await platform.tasks.retry(first.id)
    assert (caught.value.code, caught.value.details["id"]) == (Code.UNIQUE_TAKEN, str(second.id))
    assert await history(platform, first.id) is not None
    await platform.tasks.cancel(second.id)
    assert (await platform.tasks.retry(first.id)).state == "available"


async def test_a_plugin_s_submit_of_a_duplicate_returns_the_task_that_is_there(platform: Platform) -> None:
    first: UUID = await platform.submit.submit_kind("shop.once", {"to": "a"})
    assert await platform.submit.submit_kind("shop.once", {"to": "a"}) == first


async def test_the_detail_of_a_task_names_its_key(platform: Platform) -> None:
    named, plain = await ask(platform, unique_key="order-17"), await ask(platform)
    assert (await platform.tasks.get(named.id)).unique_key == "order-17"
    assert (await platform.tasks.get(plain.id)).unique_key is None


async def test_the_catalog_shows_what_a_kind_declares(platform: Platform) -> None:
    assert (await catalog(platform).kind("shop.bounce")).unique == Unique(by=["to"], on_duplicate="replace")
    assert (await catalog(platform).kind("shop.mail")).unique is None


@pytest.mark.parametrize(
    "key", [{"unique_key": "same"}, {"unique": {"by": ["to"]}}, {"unique_key": "same", "sequence_key": "s"}]
)
async def test_of_64_clients_that_submit_the_same_at_once_one_is_stored_and_nobody_fails(
    platform: Platform, database_url: str, broker_url: str, key: dict[str, Any]
) -> None:
    """Eight processes' worth of pools, eight clients in each; nobody deadlocks, whatever the order in which they come."""
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = await platform.database.pool.fetchval(deadlocks)
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(platform_of(database_url, broker_url, mail, once, bounce)) for _ in range(8)
        ]
        done = await asyncio.gather(*(ask(each, text=str(n), **dict(key)) for n in range(8) for each in processes))
    assert sorted(each.duplicate for each in done) == [False] + [True] * 63
    assert len({each.id for each in done}) == 1
    assert await rows(platform) == 1
    assert await platform.database.pool.fetchval(deadlocks) == before
