"""Each reason for which a task waits, made on real servers, and not said where it does not hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.engine.periodic.presence import Presence
from taskmill.ids import new_id
from taskmill.services import constants as svc
from taskmill.services.platform import Platform
from taskmill.services.tasks.explain.reasons import WaitReason
from taskmill.services.tasks.explain.waiting import reasons as waiting_reasons
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.broker.tickets import Ticket
from taskmill.stores.tasks import read as task_read
from taskmill.stores.tasks.partitions import ensure_partitions
from taskmill.stores.workers.worker import Registration, register
from tests.support import rows
from tests.support.platforms import opened

pytestmark = pytest.mark.anyio


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """The services with partitions for today, and nobody who works."""
    async with opened(database_url, broker_url) as found:
        async with found.database.pool.acquire() as connection:
            await ensure_partitions(connection, 1)
        yield found


async def worker(platform: Platform, queue: str = "q", *, kinds: tuple[str, ...] = ("demo.echo:1",), **facts: Any) -> UUID:
    """A live worker with ten free slots, changed by `facts`."""
    made = Registration(new_id(), "host", 1, "1", (queue,), kinds, 10)
    await register(platform.database.pool, made, 60)
    for name, value in facts.items():
        await platform.database.pool.execute(f"update taskmill.workers set {name} = $2 where id = $1", made.id, value)
    return made.id


async def task(platform: Platform, *, state: str = "available", ticketed: bool = True, **columns: Any) -> UUID:
    """A task of the queue `q`, with a ticket of now that is in its stream."""
    pool, queue = platform.database.pool, columns.setdefault("queue", "q")
    if not ticketed or state != "available":
        return await rows.add_task(pool, state=state, **columns)
    at = columns.setdefault("ticket_at", await rows.now(pool))
    made = await rows.add_task(pool, state=state, **columns)
    await platform.tickets.begin_epoch(queue, 1)
    await platform.tickets.submit(queue, 2, [Ticket(made, 0, round(at.timestamp() * 1000))])
    return made


async def reasons(platform: Platform, task_id: UUID) -> dict[str, WaitReason]:
    """The reasons by code, the same in the task's view and in `explain`."""
    told = (await platform.tasks.explain(task_id)).waiting
    assert [each.code for each in told] == [each.code for each in (await platform.tasks.get(task_id)).waiting]
    assert msgspec.json.decode(msgspec.json.encode(told), type=list[WaitReason]) == told
    return {each.code: each for each in told}


async def finished(platform: Platform, n: int, queue: str = "q") -> None:
    """So many tasks ended within the last minutes, as the rollups say."""
    await platform.database.pool.execute(
        "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n) "
        "values (date_trunc('minute', now()) - interval '2 minutes', $1, 'demo.echo', 'completed', $2, $3)",
        queue, new_id(), n,
    )  # fmt: skip


async def test_a_task_that_is_taken_at_once_has_no_reason(platform: Platform) -> None:
    await worker(platform)
    explained = await platform.tasks.explain(await task(platform))
    assert (explained.state, explained.waiting, explained.fate) == ("available", [], [])


@pytest.mark.parametrize(("state", "again"), [("scheduled", False), ("retryable", True)])
async def test_not_due(platform: Platform, state: str, again: bool) -> None:
    await worker(platform)
    await Presence(platform.database).run_once()
    due = await rows.now(platform.database.pool) + timedelta(hours=1)
    told = await reasons(platform, await task(platform, state=state, run_at=due, attempt=2))
    assert list(told) == ["NOT_DUE"]
    assert 3_590 < told["NOT_DUE"].facts["in_s"] <= 3_600
    assert ("back-off after attempt 2" in told["NOT_DUE"].message.en) == again


@pytest.mark.parametrize(
    ("expires_s", "due_s", "said"),
    [(svc.EXPIRES_SOON_S, 0, True), (svc.EXPIRES_SOON_S + 60, 0, False), (7_000, 7_200, True), (7_200, 7_000, False)],
)
async def test_expires_soon_or_before_it_is_due(platform: Platform, expires_s: float, due_s: float, said: bool) -> None:
    await worker(platform)
    await Presence(platform.database).run_once()
    now = await rows.now(platform.database.pool)
    state, times = ("scheduled" if due_s else "available"), {"expires_at": now + timedelta(seconds=expires_s)}
    told = await reasons(platform, await task(platform, state=state, run_at=now + timedelta(seconds=due_s), **times))
    assert ("EXPIRES_SOON" in told) == said


async def test_expires_before_its_turn_at_the_pace_of_now(platform: Platform) -> None:
    await worker(platform)
    await finished(platform, 1)
    now = await rows.now(platform.database.pool)
    await task(platform)
    told = await reasons(platform, await task(platform, expires_at=now + timedelta(seconds=90)))
    assert told["AHEAD"].facts["about_s"] > 100
    assert "turn comes later" in told["EXPIRES_SOON"].message.en


async def test_paused_says_since_when_and_by_whom_and_nothing_of_dispatch(platform: Platform) -> None:
    await worker(platform)
    waiting = await task(platform)
    await platform.queues.pause("q", by="ops")
    told = await reasons(platform, waiting)
    assert list(told) == ["QUEUE_PAUSED"]
    assert told["QUEUE_PAUSED"].facts["by"] == "ops"
    assert told["QUEUE_PAUSED"].next == ["taskmill queue resume q"]
    await platform.queues.resume("q")
    assert "QUEUE_PAUSED" not in await reasons(platform, waiting)


async def test_no_worker_says_until_when_there_was_one(platform: Platform) -> None:
    waiting = await task(platform)
    told = (await reasons(platform, waiting))["NO_WORKER"]
    assert (told.facts["last_seen"], told.next) == (None, ["taskmill worker --queue q"])
    await worker(platform, lease_until=await rows.now(platform.database.pool) - timedelta(minutes=3))
    assert (await reasons(platform, waiting))["NO_WORKER"].facts["last_seen"] is not None
    await worker(platform)
    assert await reasons(platform, waiting) == {}


@pytest.mark.parametrize(
    ("troubles", "kind", "words"),
    [
        ({"plugins": {"demo": "ImportError: no module named cv2"}}, "demo.echo", "did not come up: ImportError: no module named cv2"),
        ({"plugins": {"other": "broken"}}, "demo.echo", "the plugin demo is not there"),
        ({}, "demo.unheard", "no plugin has ever registered it"),
    ],
    ids=["failed", "absent", "unheard"],
)  # fmt: skip
async def test_a_kind_that_nobody_knows_names_its_plugin(
    platform: Platform, troubles: dict[str, Any], kind: str, words: str
) -> None:
    await worker(platform, kinds=("demo.other:1",), troubles=msgspec.json.encode(troubles))
    told = await reasons(platform, await task(platform, kind=kind))
    assert list(told) == ["KIND_NOT_SERVED"]
    assert words in told["KIND_NOT_SERVED"].message.en
    assert told["KIND_NOT_SERVED"].facts["workers"] == 1


async def test_another_version_of_its_kind_does_not_run_it(platform: Platform) -> None:
    await worker(platform)
    assert "KIND_NOT_SERVED" in await reasons(platform, await task(platform, kind_version=2))


async def test_busy_workers_are_told_with_their_slots(platform: Platform) -> None:
    first = await worker(platform, running=10)
    waiting = await task(platform)
    told = await reasons(platform, waiting)
    assert told["WORKERS_BUSY"].facts == {"queue": "q", "workers": 1, "slots": 10, "running": 10}
    await platform.database.pool.execute("update taskmill.workers set running = 9 where id = $1", first)
    assert await reasons(platform, waiting) == {}


async def test_so_many_are_before_it_and_about_so_long(platform: Platform) -> None:
    await worker(platform)
    for _ in range(3):
        await task(platform)
    waiting = await task(platform)
    await task(platform)  # 后来的不算
    await task(platform, queue="elsewhere")
    told = (await reasons(platform, waiting))["AHEAD"]
    assert (told.facts["ahead"], told.facts["capped"], told.facts["about_s"]) == (3, False, None)
    assert "how long is unknown" in told.message.en
    await finished(platform, 180)
    told = (await reasons(platform, waiting))["AHEAD"]
    assert 1 < told.facts["per_s"] <= 1.5
    assert 2 <= told.facts["about_s"] <= 3
    assert "at the pace of the last 5 minutes about" in told.message.en


async def test_without_a_ticket_all_with_one_and_older_ones_are_before_it(platform: Platform) -> None:
    await worker(platform)
    await Presence(platform.database).run_once()
    await task(platform, ticketed=False)
    waiting = await task(platform, ticketed=False)
    await task(platform)
    assert (await reasons(platform, waiting))["AHEAD"].facts["ahead"] == 2


async def test_other_priorities_take_their_share(platform: Platform) -> None:
    await worker(platform)
    await finished(platform, 180)
    await task(platform)
    waiting = await task(platform)
    alone = (await reasons(platform, waiting))["AHEAD"].facts["about_s"]
    await task(platform, priority=1)
    shared = (await reasons(platform, waiting))["AHEAD"].facts
    assert shared["ahead"] == 1
    assert shared["about_s"] > 3 * alone


async def test_no_more_than_so_many_are_counted(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmill.services.tasks.explain.waiting.MOST", 2)
    await worker(platform)
    for more, said in ((2, "2 tasks"), (1, "more than 2")):
        for _ in range(more):
            await task(platform)
        waiting = await task(platform)
        assert said in (await reasons(platform, waiting))["AHEAD"].message.en
        await platform.tasks.cancel(waiting)


async def test_one_that_is_claimed_while_one_looks_is_no_error(platform: Platform) -> None:
    await worker(platform)
    await finished(platform, 180)
    other = await task(platform, priority=3)
    row = await task_read.fetch(platform.database.pool, other)
    await platform.database.pool.execute("update taskmill.tasks set state = 'running' where id = $1", other)
    assert await waiting_reasons(platform.database.pool, row) == []


@pytest.mark.parametrize(("crashes", "said"), [(1, False), (2, True)])
async def test_a_suspect_runs_alone(platform: Platform, crashes: int, said: bool) -> None:
    await worker(platform)
    assert ("SUSPECT" in await reasons(platform, await task(platform, crash_count=crashes))) == said


async def test_without_a_scheduler_what_needs_one_says_so(platform: Platform) -> None:
    await worker(platform)
    due = await task(platform, ticketed=False)
    assert list(await reasons(platform, due)) == ["NO_SCHEDULER"]
    assert await reasons(platform, await task(platform, queue="other")) != {}
    await Presence(platform.database).run_once()
    assert await reasons(platform, due) == {}


async def test_a_ticket_that_is_gone_is_lost_after_a_while_and_says_who_repairs_it(platform: Platform) -> None:
    await worker(platform)
    now = await rows.now(platform.database.pool)
    old = await task(platform, ticket_at=now - timedelta(seconds=30))
    assert await reasons(platform, old) == {}
    await platform.tickets.redis.flushdb()
    fresh = await task(platform, queue="other")
    assert "TICKET_LOST" not in await reasons(platform, fresh)
    told = await reasons(platform, old)
    assert list(told) == ["NO_SCHEDULER", "TICKET_LOST"]
    assert "takes a scheduler" in told["TICKET_LOST"].message.en
    await Presence(platform.database).run_once()
    told = await reasons(platform, old)
    assert list(told) == ["TICKET_LOST"]
    assert "the auditor finds that" in told["TICKET_LOST"].message.en


async def test_valkey_away_is_told_and_nothing_fails(database_url: str) -> None:
    async with opened(database_url, "redis://127.0.0.1:1/0") as alone:
        await worker(alone)
        waiting = await rows.add_task(alone.database.pool, queue="q", ticket_at=await rows.now(alone.database.pool))
        later = await rows.add_task(alone.database.pool, queue="q", state="scheduled")
        told = await reasons(alone, waiting)
        assert list(told) == ["DISPATCH_DOWN"]
        assert told["DISPATCH_DOWN"].facts["from"] == "api"
        assert "DISPATCH_DOWN" not in await reasons(alone, later)


async def test_workers_that_cannot_reach_valkey_say_so(platform: Platform) -> None:
    cut_off = msgspec.json.encode({"broker": "Connection refused", "broker_s": 9})
    await worker(platform, troubles=cut_off)
    waiting = await task(platform)
    told = await reasons(platform, waiting)
    assert told["DISPATCH_DOWN"].facts == {"from": "workers", "words": "Connection refused"}
    await worker(platform)  # 有一个连得上就行
    assert await reasons(platform, waiting) == {}


async def limited(platform: Platform, **limits: Any) -> None:
    await worker(platform)
    await platform.queues.put("q", QueuePolicyChange(**limits))
    while platform.promoter.under_way:  # 它会看一眼这个队列：之后才放进去的任务，不许由它放行
        await asyncio.wait(platform.promoter.under_way)


async def test_limits_name_the_key_and_who_has_the_slots(platform: Platform) -> None:
    await limited(platform, max_running=5, max_running_per_key=1)
    runs = await rows.add_running(platform.database.pool, new_id(), queue="q", slot=2, concurrency_key="k")
    other = await rows.add_running(platform.database.pool, new_id(), queue="q", slot=2, concurrency_key="l")
    held = await task(platform, ticketed=False, slot=0, concurrency_key="k")
    last = await task(platform, ticketed=False, slot=0, concurrency_key="k")
    told = await reasons(platform, last)
    assert list(told) == ["KEY_AT_LIMIT"]
    facts = told["KEY_AT_LIMIT"].facts
    assert (facts["key"], facts["limit"], facts["taken"], facts["ahead"]) == ("k", 1, 1, 1)
    assert facts["holders"] == [str(runs)]
    assert (await reasons(platform, held))["KEY_AT_LIMIT"].facts["ahead"] == 0
    await platform.queues.put("q", QueuePolicyChange(max_running=2))
    told = await reasons(platform, await task(platform, ticketed=False, slot=1))
    assert list(told) == ["QUEUE_AT_LIMIT"]
    assert set(told["QUEUE_AT_LIMIT"].facts["holders"]) == {str(runs), str(other)}


@pytest.mark.parametrize(("slot", "code"), [(1, "RATE_AT_LIMIT"), (0, "KEY_RATE_AT_LIMIT")])
async def test_rates_say_when_the_bucket_refills(platform: Platform, slot: int, code: str) -> None:
    rate = Rate(limit=1, period_s=60, burst=1)
    await limited(platform, **{"rate" if slot else "rate_per_key": rate})
    held = await task(platform, ticketed=False, slot=slot, concurrency_key="k")
    told = (await reasons(platform, held))[code]
    assert "let go at once" in told.message.en
    await platform.database.pool.execute("insert into taskmill.rate_buckets values ('q', 0, now(), 1)")
    await platform.database.pool.execute("insert into taskmill.key_rate_buckets values ('q', 'k', 0, now(), 1)")
    told = (await reasons(platform, held))[code]
    assert told.facts["refill_at"] is not None
    assert "its next token at" in told.message.en
    await task(platform, slot=2, concurrency_key="k")  # 放行了而没有开始：占着桶
    told = (await reasons(platform, held))[code]
    assert told.facts["refill_at"] is None


async def test_the_head_of_its_sequence_and_missing_parents_are_named(platform: Platform) -> None:
    async def put(**options: Any) -> UUID:
        return (await platform.submit.submit(SubmitRequest(kind="demo.echo", args={}, **options))).id

    first = await put(sequence_key="s")
    second = await put(sequence_key="s", depends_on=[str(first)])
    async with opened(platform.database.url, platform.tickets.url) as other:
        await other.releaser.arm()
        await other.releaser.advance({"s": 9})
    told = await reasons(platform, second)
    assert {"NOT_ITS_TURN", "PARENTS_LIVE"} <= set(told)
    assert told["NOT_ITS_TURN"].next == [f"taskmill task explain {first}"]
    assert told["PARENTS_LIVE"].facts["parents"][0]["id"] == str(first)
    assert "NOT_ITS_TURN" not in await reasons(platform, first)
    await platform.database.pool.execute("insert into taskmill.sequence_stops values ($1, 's', 1)", first)
    await platform.database.pool.execute("update taskmill.sequence_turns set head = null")
    told = await reasons(platform, second)
    assert told["SEQUENCE_STOPPED"].next == [f"taskmill task retry {first}", f"taskmill task skip {first}"]


async def fates(platform: Platform, task_id: UUID) -> dict[str, Any]:
    explained = await platform.tasks.explain(task_id)
    assert explained.waiting == []
    return {each.code: each for each in explained.fate}


async def test_a_running_one_says_where_and_whether_its_worker_is_there(platform: Platform) -> None:
    pool = platform.database.pool
    there, gone = await rows.add_worker(pool), await rows.add_worker(pool, lease_s=-1)
    now = await rows.now(pool)
    runs = await rows.add_running(pool, there, deadline_at=now)
    assert list(await fates(platform, runs)) == ["RUNNING"]
    asked = await rows.add_running(pool, there, deadline_at=now, cancel_requested_at=now)
    assert list(await fates(platform, asked)) == ["RUNNING", "CANCEL_REQUESTED"]
    for lost in (gone, new_id()):
        assert list(await fates(platform, await rows.add_running(pool, lost))) == ["WORKER_SILENT"]


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        ("completed", None, "COMPLETED"),
        ("cancelled", None, "CANCELLED"),
        ("cancelled", {"type": "ParentFailed", "message": "no"}, "PARENT_FAILED"),
        ("discarded", {"type": "ValueError", "message": "a\nb" * 500}, "DISCARDED"),
        ("discarded", {"type": "WorkerLost", "message": "gone", "message_zh": "没了"}, "CRASHED"),
        ("discarded", {"type": "Expired", "message": "late"}, "EXPIRED"),
    ],
)
async def test_a_final_one_says_what_became_of_it(
    platform: Platform, state: str, error: dict[str, str] | None, code: str
) -> None:
    pool = platform.database.pool
    now = await rows.now(pool)
    raw = None if error is None else msgspec.json.encode(error)
    ended = await rows.add_final(pool, now, state=state, error=raw, expires_at=now)
    told = await fates(platform, ended)
    assert list(told) == [code]
    assert len(told[code].message.en) < 500
    assert "\n" not in told[code].message.en


async def test_a_failed_one_says_what_it_stops_and_who_has_its_key(platform: Platform) -> None:
    pool = platform.database.pool
    ended = await rows.add_final(pool, await rows.now(pool), state="discarded", unique_key="u", unique_while="live")
    assert list(await fates(platform, ended)) == ["DISCARDED"]
    await pool.execute("insert into taskmill.sequence_stops values ($1, 's', 1)", ended)
    holder = await rows.add_task(pool, unique_key="u", unique_while="live")
    told = await fates(platform, ended)
    assert list(told) == ["DISCARDED", "STOPS_SEQUENCE", "KEY_TAKEN"]
    assert told["KEY_TAKEN"].next == [f"taskmill task explain {holder}"]
