"""Everything that the roles ask of Valkey, tried once on a queue that nobody has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from uuid import uuid4

from taskmill import constants as c
from taskmill import keys
from taskmill.ids import new_id
from taskmill.stores.broker import lanes
from taskmill.stores.broker.foreign_keys import find
from taskmill.stores.broker.tickets import BROKER_AWAY, Lane, Ticket, Tickets

__all__ = ["BROKER_AWAY", "foreign", "try_dispatch"]
PREFIX = "taskmill.doctor."
CONSUMER = "doctor"


async def try_dispatch(broker_url: str) -> None:
    """Send tickets their whole way, as submitter, worker, stager and auditor do, and a hint; errors of redis pass through."""
    tickets, queue = Tickets(broker_url), f"{PREFIX}{uuid4().hex}"
    try:
        await _as_roles(tickets, queue, c.PRIORITY_DEFAULT)
        await _as_auditor(tickets, (queue, c.PRIORITY_DEFAULT))
        async with aclosing(tickets.hints(new_id())) as hints:
            await anext(hints)
        await tickets.hint(new_id())
        await tickets.ping()
    finally:
        try:
            await tickets.forget(queue)
            await tickets.redis.delete(keys.writable())
        finally:
            await tickets.close()


async def _as_roles(tickets: Tickets, queue: str, priority: int) -> None:
    at_ms, lane = int(time.time() * 1000), (queue, priority)
    await tickets.begin_epoch(queue, at_ms)
    await tickets.submit(queue, priority, [Ticket(new_id(), 0, at_ms)])
    await tickets.feed(queue, priority, [Ticket(new_id(), 0, at_ms)])
    await tickets.nonempty([lane])
    found = await tickets.read(CONSUMER, {lane: 1})
    found |= await tickets.read(CONSUMER, {lane: 1}, block_ms=1)
    await tickets.own_pending(CONSUMER, queue, priority, 2)
    await tickets.drop(queue, priority, [entry for entries in found.values() for entry, _ in entries])
    await tickets.clear_flag(queue, priority)
    await tickets.redis.delete(keys.tickets(queue, priority))
    await tickets.read(CONSUMER, {lane: 1})  # 没有了组：补上


async def _as_auditor(tickets: Tickets, lane: Lane) -> None:
    await lanes.epochs(tickets, [lane[0]])
    await lanes.lengths(tickets, [lane])
    await lanes.heads(tickets, [lane])
    await lanes.pending(tickets, [lane], 1)
    await lanes.consumers(tickets, [lane])
    await tickets.remove_consumer(CONSUMER, [lane[0]])


async def foreign(broker_url: str, queues: Sequence[str]) -> list[str]:
    """Return the queues with a key of a foreign type; errors of redis pass through."""
    tickets = Tickets(broker_url)
    try:
        return await find(tickets, queues)
    finally:
        await tickets.close()
