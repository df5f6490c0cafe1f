"""Claimer: turns tickets into claimed rows, acknowledges them after the commit, and keeps its books straight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

from taskmill import constants as c
from taskmill.engine.reader import Lane, Reader
from taskmill.log import get_logger
from taskmill.stores.broker.tickets import BROKER_AWAY, Entry, Tickets
from taskmill.stores.database import AWAY, SERIALIZATION, Database, Queryable, Record
from taskmill.stores.tasks import claim as store
from taskmill.stores.tasks import stage as task_stage
from taskmill.stores.why import why

log = get_logger(__name__)


@asynccontextmanager
async def _at_once() -> AsyncIterator[bool]:
    yield True


Claim = Callable[[Queryable, Sequence[tuple[UUID, int]], UUID, Sequence[str]], Awaitable[list[Record]]]


class Claimer:
    """Claims for one incarnation. `doubtful` is set when a claim's commit has an unknown outcome.

    `alone` empties the worker for a suspect and keeps everything else out during the block; False: not to be had now.
    """

    def __init__(
        self,
        database: Database,
        tickets: Tickets,
        reader: Reader,
        worker_id: UUID,
        served: Sequence[str],
        alone: Callable[[], AbstractAsyncContextManager[bool]] = _at_once,
    ) -> None:
        self._database = database
        self._tickets = tickets
        self.reader = reader
        self.worker_id = worker_id
        self._served = sorted(served)
        self._dropping: set[asyncio.Task[None]] = set()
        self.claiming: set[UUID] = set()
        self.doubtful = False
        self.claims = 0
        self._alone = alone

    async def claim(self, found: dict[Lane, list[Entry]], take: Callable[[list[Record]], None]) -> int:
        """Claim what was read, hand the rows to `take`, then acknowledge; returns how many rows.

        Raises one of AWAY when PostgreSQL does not answer: nothing is acknowledged then, and the auditor gives the
        tickets to others after 10 s.
        """
        wanted = [(ticket.id, ticket.claim_no) for entries in found.values() for _, ticket in entries]
        ids = {identity for identity, _ in wanted}
        self.claiming |= ids
        try:
            rows = await self._claim(wanted)
            take(rows)
            if len(rows) < len(ids):
                rows += await self._rest(_without(wanted, rows), take)
        finally:
            self.claiming -= ids
        self._acknowledge(found)
        return len(rows)

    async def _rest(self, lost: list[tuple[UUID, int]], take: Callable[[list[Record]], None]) -> list[Record]:
        """没领到的：里面也许有可疑任务，腾空了进程才领一个；其余推迟或撕票。"""
        rows: list[Record] = []
        if await store.suspects(self._database.pool, lost, self._served):
            async with self._alone() as alone:
                if alone:
                    rows = await self._claim(lost, store.claim_suspect)
                    take(rows)
        await store.decline(self._database.pool, _without(lost, rows), self._served)
        return rows

    async def _claim(self, wanted: list[tuple[UUID, int]], statement: Claim = store.claim) -> list[Record]:
        self.claims += 1
        for attempt in range(c.RETRY_SERIALIZATION_TIMES):
            try:
                return await statement(self._database.pool, wanted, self.worker_id, self._served)
            except SERIALIZATION:
                if attempt == c.RETRY_SERIALIZATION_TIMES - 1:
                    raise
            except AWAY:
                self.doubtful = True
                raise
        raise AssertionError  # 循环必然返回或抛出

    def _acknowledge(self, found: dict[Lane, list[Entry]]) -> None:
        task = asyncio.create_task(self._drop(found))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def _drop(self, found: dict[Lane, list[Entry]]) -> None:
        try:
            for (queue, priority), entries in found.items():
                await self._tickets.drop(queue, priority, [entry for entry, _ in entries])
        except BROKER_AWAY as error:
            log.warning("票据未确认，由审计清理", error=why(error))

    async def give_back(self, found: dict[Lane, list[Entry]]) -> int:
        """Return unclaimed tickets to the stager: rows first, then the stream; returns how many."""
        tickets = [(ticket.id, ticket.claim_no) for entries in found.values() for _, ticket in entries]
        if tickets:
            await task_stage.unticket(self._database.pool, tickets)
            await self._drop(found)
        return len(tickets)

    async def orphans(self, known: Callable[[], set[tuple[UUID, int]]]) -> set[tuple[UUID, int]]:
        """Return rows that PostgreSQL says we run and we do not know: claims whose reply was lost."""
        before = known()
        claiming = set(self.claiming)
        rows = await store.running_of(self._database.pool, self.worker_id)
        self.doubtful = False
        strangers = rows - before - known()
        return {key for key in strangers if key[0] not in claiming and key[0] not in self.claiming}

    async def finish(self) -> None:
        """Wait for acknowledgements under way, then take what is still pending back and leave the groups."""
        await asyncio.gather(*self._dropping, return_exceptions=True)
        try:
            await self.give_back(await self.reader.own_pending())
            await self._tickets.remove_consumer(self.reader.consumer, self.reader.queues)
        except Exception as error:  # noqa: BLE001 - 审计会清理，停机不能卡在这里
            log.warning("消费者未能移除，由审计清理", error=why(error))


def _without(tickets: list[tuple[UUID, int]], rows: list[Record]) -> list[tuple[UUID, int]]:
    won = {row["id"] for row in rows}
    return sorted({ticket for ticket in tickets if ticket[0] not in won})
