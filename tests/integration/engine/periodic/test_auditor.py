"""The auditor: every available task gets a ticket in bounded time, whatever happened to the one it had."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from asyncpg import Pool

from taskmill import constants as shared
from taskmill import keys
from taskmill.clock import FakeClock
from taskmill.engine import constants as c
from taskmill.engine.periodic.auditor import Auditor, AuditorConfig
from taskmill.engine.periodic.stager import Stager
from taskmill.ids import new_id
from taskmill.stores.broker import lanes
from taskmill.stores.broker.tickets import Ticket, Tickets
from taskmill.stores.database import Database
from tests.support import rows

pytestmark = pytest.mark.anyio
QUEUE, PRIORITY = "default", 2
NOTHING = {"lost": 0, "stuck": 0, "consumers": 0, "more": 0}


@pytest.fixture
async def tickets(broker_url: str) -> AsyncIterator[Tickets]:
    tickets = Tickets(broker_url)
    yield tickets
    await tickets.close()


@pytest.fixture
def stager(database: Database, tickets: Tickets) -> Stager:
    return Stager(database, tickets)


@pytest.fixture
def auditor(database: Database, tickets: Tickets) -> Auditor:
    return Auditor(database, tickets)


async def ticketed(pool: Pool, tickets: Tickets, age_s: float, *, send: bool = True, **columns: Any) -> UUID:
    """An available row that believes in a ticket made `age_s` seconds ago; it is in the stream only if `send`."""
    at = (await rows.now(pool)).replace(microsecond=0) - timedelta(seconds=age_s)
    task_id = await rows.add_task(pool, queue=QUEUE, priority=PRIORITY, ticket_at=at, **columns)
    if send:
        ticket = Ticket(task_id, columns.get("claim_no", 0), round(at.timestamp() * 1000))
        assert await tickets.feed(QUEUE, PRIORITY, [ticket])
    return task_id


async def unticketed(pool: Pool) -> set[UUID]:
    return {row["id"] for row in await pool.fetch("select id from taskmill.tasks where ticket_at is null")}


async def begin(pool: Pool, tickets: Tickets) -> None:
    """Streams and groups of a queue that began long ago."""
    await pool.execute("insert into taskmill.queues (name) values ($1) on conflict do nothing", QUEUE)
    await tickets.begin_epoch(QUEUE, 0)


async def test_invariant_5_rows_older_than_the_head_of_their_stream_have_lost_their_tickets(
    pool: Pool, tickets: Tickets, auditor: Auditor, stager: Stager
) -> None:
    await begin(pool, tickets)
    lost = await ticketed(pool, tickets, 60, send=False)
    within_margin = await ticketed(pool, tickets, 33, send=False)
    await ticketed(pool, tickets, 30)
    await ticketed(pool, tickets, 20)
    await ticketed(pool, tickets, 10, send=False)

    assert await auditor.run_once() == {**NOTHING, "lost": 1}
    assert await unticketed(pool) == {lost}
    assert (await rows.live(pool, within_margin))["ticket_at"] is not None

    assert (await stager.run_once())["fed"] == 1
    assert await tickets.length(QUEUE, PRIORITY) == 3
    assert await unticketed(pool) == set()


async def test_invariant_5_with_an_empty_stream_age_alone_decides(pool: Pool, tickets: Tickets, auditor: Auditor) -> None:
    await begin(pool, tickets)
    lost = await ticketed(pool, tickets, shared.LOST_TICKET_MARGIN_S + 3, send=False)
    await ticketed(pool, tickets, 1, send=False)
    assert await auditor.run_once() == {**NOTHING, "lost": 1}
    assert await unticketed(pool) == {lost}


async def test_invariant_5_however_long_other_tasks_run(pool: Pool, tickets: Tickets, auditor: Auditor) -> None:
    """A ticket is dropped at the claim, so a task that runs for hours does not hide what was lost behind it."""
    await begin(pool, tickets)
    running = await ticketed(pool, tickets, 3600)
    worker_id = await rows.add_worker(pool)
    (entry,) = (await tickets.read(str(worker_id), {(QUEUE, PRIORITY): 1}))[QUEUE, PRIORITY]
    await pool.execute("update taskmill.tasks set state = 'running', worker_id = $2 where id = $1", running, worker_id)
    await tickets.drop(QUEUE, PRIORITY, [entry[0]])
    lost = await ticketed(pool, tickets, 600, send=False)
    await ticketed(pool, tickets, 1)

    assert (await auditor.run_once())["lost"] == 1

    assert lost in await unticketed(pool)


async def test_a_long_backlog_in_order_is_not_touched(pool: Pool, tickets: Tickets, auditor: Auditor) -> None:
    await begin(pool, tickets)
    for age in range(600, 500, -10):
        await ticketed(pool, tickets, age)
    assert await auditor.run_once() == NOTHING


async def test_only_available_rows_of_the_lane_are_touched(pool: Pool, tickets: Tickets, auditor: Auditor) -> None:
    await begin(pool, tickets)
    old = await rows.now(pool) - timedelta(hours=1)
    for state in ("scheduled", "running", "retryable"):
        await rows.add_task(pool, state=state, ticket_at=old)
    lost = [await rows.add_task(pool, ticket_at=old, queue=queue, priority=p) for queue, p in (("a", 1), ("a", 4), ("b", 1))]
    assert (await auditor.run_once())["lost"] == 3
    assert await unticketed(pool) == set(lost)


async def test_a_flood_is_repaired_in_batches(database: Database, pool: Pool, tickets: Tickets) -> None:
    auditor = Auditor(database, tickets, AuditorConfig(batch=2))
    for _ in range(3):
        await ticketed(pool, tickets, 60, send=False)
    counts = [await auditor.run_once() for _ in range(2)]
    assert [(count["lost"], count["more"]) for count in counts] == [(2, 1), (1, 0)]


async def test_invariant_5_a_ticket_that_was_read_and_forgotten_is_replaced(
    database: Database, pool: Pool, tickets: Tickets, stager: Stager
) -> None:
    await begin(pool, tickets)
    waiting = await ticketed(pool, tickets, 1)
    claimed = await ticketed(pool, tickets, 1)
    unread = await ticketed(pool, tickets, 1)
    await tickets.read(str(new_id()), {(QUEUE, PRIORITY): 2})
    await pool.execute("update taskmill.tasks set claim_no = 1, ticket_at = now() where id = $1", claimed)

    assert (await Auditor(database, tickets).run_once())["stuck"] == 0  # 还不到十秒
    assert (await Auditor(database, tickets, AuditorConfig(idle_ms=0)).run_once())["stuck"] == 2

    assert await unticketed(pool) == {waiting}
    assert await tickets.length(QUEUE, PRIORITY) == 1
    await stager.run_once()
    found = (await tickets.read(str(new_id()), {(QUEUE, PRIORITY): 10}))[QUEUE, PRIORITY]
    assert [ticket.id for _, ticket in found] == [unread, waiting]


async def test_invariant_5_a_forgotten_ticket_is_replaced_though_valkeys_clock_stepped_back(
    database: Database, pool: Pool, tickets: Tickets
) -> None:
    """Until its clock has caught up, Valkey says of such a ticket that it was read just now."""
    await begin(pool, tickets)
    waiting = await ticketed(pool, tickets, 1)
    await rows.add_worker(pool)  # 有人服务的队列才每轮都看
    clock = FakeClock()
    auditor = Auditor(database, tickets, clock=clock)
    await tickets.read(str(new_id()), {(QUEUE, PRIORITY): 1})
    assert (await auditor.run_once())["stuck"] == 0
    clock.advance(c.PENDING_IDLE_MS / 1000 - 1)
    assert (await auditor.run_once())["stuck"] == 0
    clock.advance(1.5)
    assert (await auditor.run_once())["stuck"] == 1
    assert await unticketed(pool) == {waiting}
    assert await tickets.length(QUEUE, PRIORITY) == 0


async def test_tickets_read_one_after_the_other_are_not_taken_for_forgotten(
    database: Database, pool: Pool, tickets: Tickets
) -> None:
    await begin(pool, tickets)
    await rows.add_worker(pool)  # 有人服务的队列才每轮都看
    clock = FakeClock()
    auditor = Auditor(database, tickets, clock=clock)
    for _ in range(3):
        await ticketed(pool, tickets, 1)
        ((entry, _),) = (await tickets.read(str(new_id()), {(QUEUE, PRIORITY): 1}))[QUEUE, PRIORITY]
        assert (await auditor.run_once())["stuck"] == 0
        clock.advance(c.PENDING_IDLE_MS / 1000 - 1)
        await tickets.drop(QUEUE, PRIORITY, [entry])


async def test_what_is_only_pending_and_stands_in_no_stream_any_more_is_cleared(
    database: Database, pool: Pool, tickets: Tickets
) -> None:
    await begin(pool, tickets)
    await ticketed(pool, tickets, 1)
    ((entry, _),) = (await tickets.read(str(new_id()), {(QUEUE, PRIORITY): 1}))[QUEUE, PRIORITY]
    await tickets.redis.xdel(keys.tickets(QUEUE, PRIORITY), entry)
    await ticketed(pool, tickets, 1)
    await Auditor(database, tickets, AuditorConfig(idle_ms=0)).run_once()
    assert await lanes.pending(tickets, [(QUEUE, PRIORITY)], 10) == {}


async def test_invariant_4_a_ticket_without_a_row_is_dropped(database: Database, pool: Pool, tickets: Tickets) -> None:
    await begin(pool, tickets)
    await tickets.feed(QUEUE, PRIORITY, [Ticket(new_id(), 0, 1)])
    await tickets.read(str(new_id()), {(QUEUE, PRIORITY): 1})
    assert (await Auditor(database, tickets, AuditorConfig(idle_ms=0)).run_once())["stuck"] == 1
    assert await tickets.length(QUEUE, PRIORITY) == 0


async def test_consumers_of_dead_workers_go_once_they_hold_nothing(database: Database, pool: Pool, tickets: Tickets) -> None:
    await begin(pool, tickets)
    clock = FakeClock()
    auditor = Auditor(database, tickets, clock=clock)
    alive, dead = await rows.add_worker(pool), await rows.add_worker(pool, death="stopped")
    holding, unknown = await rows.add_worker(pool, death="lease expired"), new_id()
    await tickets.feed(QUEUE, PRIORITY, [Ticket(new_id(), 0, 1)])
    for name in (str(holding), str(alive), str(dead), str(unknown), "somebody-else"):
        # Redis 6.2 读不到消息就不登记消费者，7 起才登记
        await tickets.redis.xgroup_createconsumer(keys.tickets(QUEUE, PRIORITY), keys.GROUP, name)
        await tickets.read(name, {(QUEUE, PRIORITY): 1})

    assert await auditor.run_once() == {**NOTHING, "consumers": 2}
    assert await consumers(tickets) == {str(alive), str(holding), "somebody-else"}
    entries = (await lanes.pending(tickets, [(QUEUE, PRIORITY)], 10))[QUEUE, PRIORITY]
    await tickets.drop(QUEUE, PRIORITY, list(entries))
    assert (await auditor.run_once())["consumers"] == 0  # 不必每一轮都查

    clock.advance(c.AUDIT_CONSUMERS_S)
    assert (await auditor.run_once())["consumers"] == 1
    assert await consumers(tickets) == {str(alive), "somebody-else"}


async def consumers(tickets: Tickets) -> set[str]:
    found: Any = await tickets.redis.xinfo_consumers(keys.tickets(QUEUE, PRIORITY), keys.GROUP)
    return {item["name"].decode() for item in found}


async def test_missing_streams_are_no_error(pool: Pool, auditor: Auditor) -> None:
    await pool.execute("insert into taskmill.queues (name) values ('new')")
    assert await auditor.run_once() == NOTHING


async def test_after_a_step_back_of_the_clock_tickets_behind_one_of_the_future_are_not_lost(
    pool: Pool, tickets: Tickets, auditor: Auditor
) -> None:
    await begin(pool, tickets)
    await ticketed(pool, tickets, -3_000)
    for _ in range(3):
        await ticketed(pool, tickets, 60)
    older = await ticketed(pool, tickets, -2_000, send=False)  # 比流头还旧：丢了
    assert (await auditor.run_once())["lost"] == 1
    assert await unticketed(pool) == {older}
    assert (await auditor.run_once())["lost"] == 0


@pytest.mark.parametrize("newer", [False, True], ids=["the stream is empty", "a ticket of today is at its head"])
async def test_after_a_step_back_of_the_clock_tickets_of_the_future_that_are_gone_are_replaced(
    pool: Pool, tickets: Tickets, auditor: Auditor, *, newer: bool
) -> None:
    await begin(pool, tickets)
    gone = await ticketed(pool, tickets, -3_000, send=False)
    if newer:
        await ticketed(pool, tickets, 1)
    assert (await auditor.run_once())["lost"] == 1
    assert await unticketed(pool) == {gone}
