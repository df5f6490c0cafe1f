"""After the commit: tickets for new tasks, as far as the windows allow; the stager makes the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from taskmill import constants as c
from taskmill.clock import Clock
from taskmill.log import get_logger
from taskmill.stores import task_stage
from taskmill.stores.database import AWAY, Database
from taskmill.stores.task_submit import Inserted, NewTask
from taskmill.stores.tickets import BROKER_AWAY, Ticket, Tickets

log = get_logger(__name__)


class Ticketing:
    """Sends tickets and remembers for FLAG_MEMORY_S which streams take none, so that overflow costs nothing."""

    def __init__(self, database: Database, tickets: Tickets, clock: Clock) -> None:
        self._database = database
        self._tickets = tickets
        self._clock = clock
        self._closed_until: dict[tuple[str, int], float] = {}

    def wanted(self, queue: str, priority: int) -> bool:
        """Say whether a new row shall be marked as ticketed."""
        until = self._closed_until.get((queue, priority))
        return until is None or self._clock.monotonic() >= until

    async def send(self, tasks: Sequence[NewTask], inserted: dict[UUID, Inserted]) -> None:
        """Ticket the rows that the insert marked; never raises: PostgreSQL has the tasks, the auditor repairs."""
        lanes: dict[tuple[str, int], list[Ticket]] = defaultdict(list)
        for task in tasks:
            at_ms = inserted[task.id].ticket_ms
            if at_ms is not None:
                lanes[task.queue, task.priority].append(Ticket(task.id, 0, at_ms))
        for (queue, priority), tickets in lanes.items():
            taken = await self._send_lane(queue, priority, tickets)
            if taken < len(tickets):
                self._closed_until[queue, priority] = self._clock.monotonic() + c.FLAG_MEMORY_S
                await self._unticket(tickets[taken:])
            else:
                self._closed_until.pop((queue, priority), None)

    async def _send_lane(self, queue: str, priority: int, tickets: list[Ticket]) -> int:
        try:
            return max(0, await self._tickets.submit(queue, priority, tickets))
        except BROKER_AWAY as error:
            log.warning("票据未送出，由 stager 补", queue=queue, count=len(tickets), error=repr(error))
            return 0

    async def _unticket(self, tickets: Sequence[Ticket]) -> None:
        try:
            await task_stage.unticket(self._database.pool, [(t.id, t.claim_no) for t in tickets])
        except AWAY as error:
            log.warning("无法标记缺票的行，由审计发现", count=len(tickets), error=repr(error))
