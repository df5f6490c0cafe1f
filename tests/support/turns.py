"""Fairness keys seen from a worker: tickets in the order in which they would be read, claimed one by one, without Valkey."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.queues.limits import Promoter
from taskmill.states import By, State
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import Ticket
from taskmill.stores.tasks import claim
from tests.support.orders import end

ROWS = """
insert into taskmill.tasks (id, queue, kind, kind_version, state, priority, args, timeout_ms, fairness_key, slot)
select gen_random_uuid(), $1, $2, 1, 'available', $3, '{}', 60000, $4, case when $4::text is null then 1 else 3 end
from generate_series(1, $5)
"""


class Stream:
    """Stands in for the streams of a platform: its promoter's tickets come here, in order."""

    def __init__(self, platform: Platform, kind: str, monkeypatch: Any) -> None:
        self.platform, self.kind = platform, kind
        self.lanes: dict[Lane, deque[Ticket]] = {}
        self.worker = new_id()
        self.running: dict[UUID, int] = {}
        self.started: list[str] = []
        monkeypatch.setattr(platform.promoter, "send", self._send)

    async def _send(self, tickets: Mapping[Lane, list[Ticket]]) -> None:
        for lane, sent in tickets.items():
            self.lanes.setdefault(lane, deque()).extend(sent)

    async def add(self, keys: Mapping[str | None, int], *, queue: str = "default", priority: int = 2) -> None:
        """Put tasks of keys in their line."""
        await self.platform.database.pool.execute(
            "insert into taskmill.queues (name) values ($1) on conflict do nothing", queue
        )
        for key, count in keys.items():
            await self.platform.database.pool.execute(ROWS, queue, self.kind, priority, key, count)

    async def promote(self, *queues: str) -> None:
        """Give what may be given."""
        await self.platform.promoter.give([(queue, None) for queue in queues or ("default",)])

    async def start(self, count: int = 1, lane: Lane = ("default", 2)) -> list[str]:
        """Claim the next tickets of a lane one by one, as a worker does; returns the keys of what started."""
        found: list[str] = []
        for _ in range(count):
            tickets = self.lanes.get(lane)
            if not tickets:
                break
            ticket = tickets.popleft()
            served = [f"{self.kind}:1"]
            rows = await claim.claim(self.platform.database.pool, [(ticket.id, ticket.claim_no)], self.worker, served)
            if rows:
                self.running[ticket.id] = rows[0]["claim_no"]
                found.append(await self.key_of(ticket.id))
                await self.promote(lane[0])
        self.started += found
        return found

    async def key_of(self, task_id: UUID) -> str:
        """Return the fairness key of a live task, "" if it has none."""
        found: Any = await self.platform.database.pool.fetchval(
            "select coalesce(fairness_key, '') from taskmill.tasks where id = $1", task_id
        )
        return str(found)

    async def end(self, task_id: UUID, state: State = State.COMPLETED, by: By = By.SETTLE) -> None:
        """End one that runs."""
        await end(self.platform.database, task_id, self.running.pop(task_id), self.worker, state, by)


async def quiet(*promoters: Promoter) -> None:
    """Wait until everything that was asked to be promoted is."""
    while waiting := [task for promoter in promoters for task in promoter.under_way]:
        await asyncio.wait(waiting)


def in_turn(keys: Mapping[str, int], after: str = "") -> list[str]:
    """Return in which order the tasks of these keys start, if no others come: the plainest way to say it."""
    left = {key: count for key, count in keys.items() if count}
    order: list[str] = []
    while left:
        key = min((key for key in left if key > after), default=min(left))
        order.append(key)
        after = key
        left[key] -= 1
        if not left[key]:
            del left[key]
    return order


def spread(keys: Iterable[str], key: str) -> int:
    """Return how many starts of other keys lie between two of this key at most, before the last of others."""
    gaps, since = [0], 0
    for each in keys:
        since = 0 if each == key else since + 1
        gaps.append(since)
    return max(gaps)
