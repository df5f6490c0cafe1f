"""Claimer: turns tickets into claimed rows, acknowledges them after the commit, and knows which are under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

from taskmill import constants as c
from taskmill.log import get_logger
from taskmill.stores.arrays import Fence
from taskmill.stores.broker.tickets import BROKER_AWAY, Entry, Lane, Tickets
from taskmill.stores.database import AWAY, SERIALIZATION, Database, Queryable, Record
from taskmill.stores.tasks import claim as store
from taskmill.stores.tasks import stage as task_stage
from taskmill.stores.why import why

log = get_logger(__name__)


@asynccontextmanager
async def _at_once() -> AsyncIterator[bool]:
    yield True


Claim = Callable[[Queryable, Sequence[Fence], UUID, Sequence[str]], Awaitable[list[Record]]]


class Claimer:
    """Claims for one incarnation.

    `alone` empties the worker for a suspect and keeps everything else out during the block; False: not to be had now.
    `declined` is told the kinds of tasks that are not served here.
    """

    def __init__(
        self,
        database: Database,
        tickets: Tickets,
        worker_id: UUID,
        served: Sequence[str],
        alone: Callable[[], AbstractAsyncContextManager[bool]] = _at_once,
        declined: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._tickets = tickets
        self.worker_id = worker_id
        self._served = sorted(served)
        self._dropping: set[asyncio.Task[None]] = set()
        self._under_way: list[set[UUID]] = []  # 一次认领一项：两次认领可能持有同一任务的票
        self._doubts = self._cleared = 0  # 结果不明的认领有过几次，对过账的有几次
        self.claims = 0
        self._alone, self._declined = alone, declined

    @property
    def doubtful(self) -> bool:
        """Say whether some claim's commit has an unknown outcome: its rows may still turn up."""
        return self._cleared < self._doubts

    def doubt(self) -> None:
        """Note that a claim may have committed without its reply."""
        self._doubts += 1

    async def claim(self, found: dict[Lane, list[Entry]]) -> AsyncGenerator[list[Record]]:
        """Claim what was read and yield the rows, which the caller must have taken in before it asks for more.

        Acknowledges at the end. Raises one of AWAY when PostgreSQL does not answer: nothing is acknowledged then, and the
        same may be claimed again; what is not, the auditor gives to others after 10 s.
        """
        wanted = [(ticket.id, ticket.claim_no) for entries in found.values() for _, ticket in entries]
        ids = {identity for identity, _ in wanted}
        self._under_way.append(ids)
        try:
            rows = await self._claim(wanted)
            yield rows
            if len(rows) < len(ids):
                lost = _without(wanted, rows)
                # 没领到的里面也许有可疑任务：腾空了进程才领一个
                if await store.suspects(self._database.pool, lost, self._served):
                    async with self._alone() as alone:
                        rows = await self._claim(lost, store.claim_suspect) if alone else []
                        yield rows
                    lost = _without(lost, rows)
                self._declined(filter(None, await store.decline(self._database.pool, lost, self._served)))
        finally:
            self._under_way.remove(ids)
        self._acknowledge(found)

    async def _claim(self, wanted: list[Fence], statement: Claim = store.claim) -> list[Record]:
        self.claims += 1
        for attempt in range(c.RETRY_SERIALIZATION_TIMES):
            try:
                return await statement(self._database.pool, wanted, self.worker_id, self._served)
            except SERIALIZATION:
                if attempt == c.RETRY_SERIALIZATION_TIMES - 1:
                    raise
            except AWAY:
                self.doubt()
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

    async def orphans(self, known: Callable[[], set[Fence]]) -> set[Fence]:
        """Return rows that PostgreSQL says we run and we do not know: claims whose reply was lost.

        A doubt is cleared unless such a row may belong to a claim that is under way: it may be the one in doubt all the same.
        """
        before, claiming, doubts = known(), set().union(*self._under_way), self._doubts
        rows = await store.running_of(self._database.pool, self.worker_id)
        claiming |= set().union(*self._under_way)
        strays = rows - before - known()
        orphans = {key for key in strays if key[0] not in claiming}
        if orphans == strays:
            self._cleared = doubts  # 查的时候又起的疑，下次再查
        return orphans

    async def stop(self) -> None:
        """Wait for acknowledgements under way."""
        await asyncio.gather(*self._dropping, return_exceptions=True)


def _without(tickets: list[Fence], rows: list[Record]) -> list[Fence]:
    won = {row["id"] for row in rows}
    return sorted({ticket for ticket in tickets if ticket[0] not in won})
