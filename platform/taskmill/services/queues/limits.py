"""Limits of queues at work: which queues have some, and the slots that are given as soon as they are free."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from taskmill.clock import Clock
from taskmill.constants import FAIRNESS_WINDOW
from taskmill.log import get_logger
from taskmill.services import constants as c
from taskmill.stores.broker import lanes as streams
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import BROKER_AWAY, Ticket, Tickets
from taskmill.stores.database import AWAY, Connection, Database
from taskmill.stores.tasks import limits as store
from taskmill.stores.tasks import stage
from taskmill.stores.tasks.limits import Given, Place
from taskmill.stores.tasks.turns import IN_TURN, Window
from taskmill.stores.why import why

log = get_logger(__name__)


class LimitCache:
    """Queues with limits, at most LIMIT_CACHE_S old. Somebody who knows better than it is right: the claim asks the table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._found: dict[str, store.Sort] = {}
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    @property
    def fresh(self) -> bool:
        """Say whether `slot` and `most` may be asked."""
        return self._clock.monotonic() - self._read_at <= c.LIMIT_CACHE_S

    async def refresh(self) -> None:
        """Read the table unless somebody just did. Errors: asyncpg's."""
        async with asyncio.timeout(c.LOOKUP_TIMEOUT_S), self._lock:
            if not self.fresh:
                begun = self._clock.monotonic()
                self._found = await store.limited(self._database.pool)
                self._read_at = begun

    def forget(self) -> None:
        """Read the table at the next question."""
        self._read_at = float("-inf")

    def slot(self, queue: str, key: str | None, *, fair: bool = False) -> int | None:
        """Return where a new task lines up, None if it need not; `fair`: it has a fairness key."""
        found = self._found.get(queue)
        if found is None or not found.limited:
            return IN_TURN if fair else None
        if found.keyed and key is not None:
            return store.HELD_BY_KEY
        return IN_TURN if fair else store.HELD_BY_QUEUE

    def most(self, queues: Iterable[str]) -> dict[str, int]:
        """Return `max_backlog` of those of the queues that have one."""
        known = {queue: self._found[queue].max_backlog for queue in queues if queue in self._found}
        return {queue: most for queue, most in known.items() if most is not None}


class Promoter:
    """Gives free slots to held tasks, in one transaction for all places that were named meanwhile.

    What it does not come to, because the process ends or a server is away, the scheduler's loop does.
    """

    def __init__(self, database: Database, tickets: Tickets, *, window: int = FAIRNESS_WINDOW) -> None:
        self._database = database
        self._tickets = tickets
        self.window = Window(window)
        self._places: set[Place] = set()
        self.under_way: set[asyncio.Task[None]] = set()

    def soon(self, places: Iterable[Place]) -> None:
        """Give the slots of these queues and keys that have become free, in the background."""
        self._places.update(places)
        if self._places and all(task.done() for task in self.under_way):  # 完了而还没有除名的，不会再看一眼
            task = asyncio.create_task(self._run(), name="promoter")
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def give(self, places: Iterable[Place]) -> Given:
        """The same now; returns what was given, its tickets sent. Errors: asyncpg's, not Valkey's."""

        async def work(connection: Connection) -> Given:
            return await store.give(connection, wanted, c.PROMOTE_MAX, self.window)

        if not (wanted := set(places)):
            return Given({}, {})
        given = await self._database.unit(work)
        await self.send(given.tickets)
        return given

    async def _run(self) -> None:
        while self._places:
            places, self._places = self._places, set()
            try:
                await self.give(places)
            except AWAY as error:
                log.warning("没能放行被上限挡着的任务，由调度器补", places=len(places), error=why(error))
                return

    async def send(self, tickets: Mapping[Lane, list[Ticket]]) -> None:
        """Send tickets of rows that say they have one; those that Valkey does not take, the stager makes again."""
        if not tickets:
            return
        try:
            async with asyncio.timeout(c.TICKET_HANG_S):
                refused = await streams.feed(self._tickets, tickets)
        except BROKER_AWAY as error:
            log.warning("票据未送出，由 stager 补", count=sum(map(len, tickets.values())), error=why(error))
            refused = set(tickets)
        late = [(ticket.id, ticket.claim_no) for lane in refused for ticket in tickets[lane]]
        if late:
            await stage.unticket(self._database.pool, late)
