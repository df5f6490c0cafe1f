"""Everything that the roles ask of Valkey, tried once on a queue that nobody has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from taskmill import constants as c
from taskmill.ids import new_id
from taskmill.stores.broker.foreign_keys import find
from taskmill.stores.broker.tickets import BROKER_AWAY, Ticket, Tickets

__all__ = ["BROKER_AWAY", "foreign", "try_dispatch"]
PREFIX = "taskmill.doctor."


async def try_dispatch(broker_url: str) -> None:
    """Send a ticket its whole way: scripts, stream, group, acknowledgement, hint; errors of redis pass through."""
    tickets, queue, lane = Tickets(broker_url), f"{PREFIX}{uuid4().hex}", c.PRIORITY_DEFAULT
    try:
        at_ms = int(time.time() * 1000)
        await tickets.begin_epoch(queue, at_ms)
        await tickets.submit(queue, lane, [Ticket(new_id(), 0, at_ms)])
        found = await tickets.read("doctor", {(queue, lane): 1})
        await tickets.drop(queue, lane, [entry for entries in found.values() for entry, _ in entries])
        await tickets.length(queue, lane)
        await tickets.remove_consumer("doctor", [queue])
        await tickets.hint(new_id())
    finally:
        try:
            await tickets.forget(queue)
        finally:
            await tickets.close()


async def foreign(broker_url: str, queues: Sequence[str]) -> list[str]:
    """Return the queues with a key of a foreign type; errors of redis pass through."""
    tickets = Tickets(broker_url)
    try:
        return await find(tickets, queues)
    finally:
        await tickets.close()
