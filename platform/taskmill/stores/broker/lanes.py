"""Many lanes at once: what the scheduler asks of thousands of streams, a few round trips instead of one for each.

A lane is a (queue, priority) pair. Methods raise one of BROKER_AWAY when Valkey does not answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from taskmill import constants as c
from taskmill import keys
from taskmill.stores import constants as sc
from taskmill.stores.broker.each import each
from taskmill.stores.broker.tickets import NO_EPOCH, Lane, Ticket, Tickets, no_group, packed

T = TypeVar("T")
_EPOCH_FIELDS = ["start", *(keys.epoch_flag(priority) for priority in c.PRIORITIES)]


@dataclass(frozen=True, slots=True)
class Epoch:
    """When a queue's streams began (PostgreSQL time, ms), and the priorities whose window overflowed."""

    start: int
    full: frozenset[int]


def chunks(items: Iterable[T], size: int = sc.LANES_CHUNK) -> Iterator[list[T]]:
    """Cut into lists of at most `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


async def epochs(tickets: Tickets, queues: Iterable[str]) -> dict[str, Epoch]:
    """Return the epoch of each queue; queues that lost theirs are absent."""
    found: dict[str, Epoch] = {}
    for part in chunks(queues):
        replies = await _replies(tickets, map(keys.epoch, part), ["HMGET"], _EPOCH_FIELDS)
        for queue, (start, *flags) in zip(part, replies, strict=True):
            if start is not None:
                full = frozenset(p for p, flag in zip(c.PRIORITIES, flags, strict=True) if flag is not None)
                found[queue] = Epoch(int(start), full)
    return found


async def begin_epochs(tickets: Tickets, queues: Iterable[str], start_ms: int) -> None:
    """Make groups and epochs of many queues; each queue all or nothing, what exists is left as it is."""
    for part in chunks(queues):
        async with tickets.pipeline() as pipe:
            for queue in part:
                await tickets.begin_epoch(queue, start_ms, pipe)
            await pipe.execute()


async def lengths(tickets: Tickets, lanes: Iterable[Lane]) -> dict[Lane, int]:
    """Return how many tickets each stream holds, read ones that were not dropped included."""
    found: dict[Lane, int] = {}
    for part in chunks(lanes):
        found.update(zip(part, await _replies(tickets, _streams(part), ["XLEN"]), strict=True))
    return found


async def heads(tickets: Tickets, lanes: Iterable[Lane]) -> dict[Lane, int | None]:
    """Return the `at_ms` of the oldest ticket of each stream, None if it is empty."""
    found: dict[Lane, int | None] = {}
    for part in chunks(lanes):
        replies = await _replies(tickets, _streams(part), ["XRANGE"], ["-", "+", "COUNT", 1])
        for lane, entries in zip(part, replies, strict=True):
            found[lane] = Ticket.unpack(_paired(entries[0][1])[sc.TICKET_FIELD]).at_ms if entries else None
    return found


async def feed(tickets: Tickets, batches: Mapping[Lane, Sequence[Ticket]]) -> set[Lane]:
    """Add the stager's tickets; returns the lanes that refused some because their epoch is gone."""
    refused: set[Lane] = set()
    for part in chunks(_portions(batches)):
        async with tickets.pipeline() as pipe:
            for lane, portion in part:
                await tickets.feed_script(keys=[keys.tickets(*lane), keys.epoch(lane[0])], args=[portion], client=pipe)
            replies = await pipe.execute()
        refused |= {lane for (lane, _), reply in zip(part, replies, strict=True) if reply == NO_EPOCH}
    return refused


def _portions(batches: Mapping[Lane, Sequence[Ticket]]) -> Iterator[tuple[Lane, bytes]]:
    for lane, batch in batches.items():
        for portion in chunks(batch, sc.TICKET_CHUNK):
            yield lane, packed(portion)


async def pending(tickets: Tickets, lanes: Iterable[Lane], count: int) -> dict[Lane, dict[bytes, int]]:
    """Return, of lanes that have any, tickets that were read and never dropped, and how long ago that was: ms by Valkey's clock."""
    found: dict[Lane, dict[bytes, int]] = {}
    for part in chunks(lanes):
        replies = await _replies(tickets, _streams(part), ["XPENDING"], [keys.GROUP, "-", "+", count])
        for lane, reply in zip(part, replies, strict=True):
            if reply:
                found[lane] = {entry: idle_ms for entry, _, idle_ms, _ in reply}
    return found


async def consumers(tickets: Tickets, lanes: Iterable[Lane]) -> dict[Lane, list[str]]:
    """Return the names of the consumers of lanes that have any."""
    found: dict[Lane, list[str]] = {}
    for part in chunks(lanes):
        replies = await _replies(tickets, _streams(part), ["XINFO", "CONSUMERS"], [keys.GROUP])
        for lane, reply in zip(part, replies, strict=True):
            if reply:
                found[lane] = [_paired(item)[b"name"].decode() for item in reply]
    return found


def _streams(lanes: Iterable[Lane]) -> Iterator[str]:
    return (keys.tickets(*lane) for lane in lanes)


def _paired(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def _replies(
    tickets: Tickets, names: Iterable[str], command: Sequence[str], after: Sequence[str | int] = ()
) -> list[Any]:
    """一次往返问完；没有流或没有组算空，别的错误照抛。"""
    replies = await each(tickets.redis, list(names), command, after)
    for reply in replies:
        if isinstance(reply, Exception) and not no_group(reply):
            raise reply
    return [None if isinstance(reply, Exception) else reply for reply in replies]
