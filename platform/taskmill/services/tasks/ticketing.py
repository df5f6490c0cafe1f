"""After the commit: tickets for new tasks, as far as the windows allow; the stager makes the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from taskmill import constants as c
from taskmill.clock import Clock
from taskmill.errors import UnavailableError
from taskmill.log import get_logger
from taskmill.services import constants as svc
from taskmill.stores.broker.tickets import BROKER_AWAY, Lane, Ticket, Tickets
from taskmill.stores.database import AWAY, Database
from taskmill.stores.tasks import stage as task_stage
from taskmill.stores.tasks.submit import Inserted, NewTask
from taskmill.stores.why import why

log = get_logger(__name__)


class Ticketing:
    """Sends tickets, and remembers for FLAG_MEMORY_S which streams take none, so that overflow costs nothing.

    Nobody's answer waits for it. Once one send fails or hangs, the others do not try: their rows are marked as unticketed,
    later ones are inserted so, the stager feeds them, and one send at a time finds out when Valkey is back.
    """

    def __init__(self, database: Database, tickets: Tickets, clock: Clock) -> None:
        self._database = database
        self._tickets = tickets
        self._clock = clock
        self._closed_until: dict[Lane, float] = {}
        self._under_way: dict[object, float] = {}  # 在途的送票何时开始，最早的在前
        self._away_until: float | None = None  # 上一次没送到：到时只放一个去试

    def wanted(self, queue: str, priority: int) -> bool:
        """Say whether a new row shall be marked as ticketed."""
        if not self._open():
            return False
        until = self._closed_until.get((queue, priority))
        return until is None or self._clock.monotonic() >= until

    async def send(self, tasks: Sequence[NewTask], inserted: dict[UUID, Inserted]) -> None:
        """Ticket the rows that the insert marked; never raises: PostgreSQL has the tasks, the auditor repairs."""
        lanes: dict[Lane, list[Ticket]] = defaultdict(list)
        for task in tasks:
            at_ms = inserted[task.id].ticket_ms
            if at_ms is not None:
                lanes[task.queue, task.priority].append(Ticket(task.id, 0, at_ms))
        refused: list[Ticket] = []
        for lane, tickets in lanes.items():
            taken = await self._send_lane(*lane, tickets)
            if taken is None:
                refused += tickets  # 这条道并没有满
            elif taken < len(tickets):
                self._closed_until[lane] = self._clock.monotonic() + c.FLAG_MEMORY_S
                refused += tickets[taken:]
            else:
                self._closed_until.pop(lane, None)
        if refused:
            await self._unticket(refused)

    def _open(self) -> bool:
        """有一次送票迟迟没有回音，或刚刚失败，就当 Valkey 不在；失败之后到了时候，放一个去试。"""
        oldest = next(iter(self._under_way.values()), None)
        now = self._clock.monotonic()
        if self._away_until is None:
            return oldest is None or (now - oldest < svc.TICKET_HANG_S and len(self._under_way) < svc.TICKET_SENDS_MAX)
        return oldest is None and now >= self._away_until

    async def _send_lane(self, queue: str, priority: int, tickets: list[Ticket]) -> int | None:
        """送出了几张；None：Valkey 不在，一张也没有。"""
        if not self._open():
            return None
        mark = object()
        self._under_way[mark] = self._clock.monotonic()
        try:
            taken = max(0, await self._tickets.submit(queue, priority, tickets))
        except BROKER_AWAY as error:
            self._away_until = self._clock.monotonic() + c.FLAG_MEMORY_S
            log.warning("票据未送出，由 stager 补", queue=queue, count=len(tickets), error=why(error))
            return None
        finally:
            del self._under_way[mark]
        self._away_until = None
        return taken

    async def _unticket(self, tickets: Sequence[Ticket]) -> None:
        try:
            await task_stage.unticket(self._database.pool, [(t.id, t.claim_no) for t in tickets])
        except AWAY as error:
            log.warning("无法标记缺票的行，由审计发现", count=len(tickets), error=why(error))
        except UnavailableError:
            return  # 连接池已关：停机时送不完的，由审计发现
