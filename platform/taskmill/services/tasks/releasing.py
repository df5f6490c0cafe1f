"""Sequences and dependencies at work: whose turn it is and what has ended, looked at right after the commit of a submit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from uuid import UUID

from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.services import constants as c
from taskmill.services.queues.limits import Promoter
from taskmill.stores.broker.lanes import chunks
from taskmill.stores.database import AWAY, Connection, Database
from taskmill.stores.tasks.order import dependencies, follow, sequences
from taskmill.stores.tasks.order.release import LetGo, release
from taskmill.stores.tasks.submit import NewTask
from taskmill.stores.why import why

log = get_logger(__name__)


class Releaser:
    """Lets blocked tasks go and sends their tickets.

    Whoever ends a task lets go in its transaction what waited for it, and has the tickets sent here. What nobody comes to,
    because a process ends, a server is away, or SQL submitted it, the scheduler's loop does.
    """

    def __init__(self, database: Database, promoter: Promoter) -> None:
        self._database = database
        self._promoter = promoter
        self._writer = new_id()
        self._children: set[UUID] = set()
        self._last: dict[str, int] = {}
        self._sending = LetGo()
        self.under_way: set[asyncio.Task[None]] = set()

    def submitted(self, tasks: Iterable[NewTask]) -> None:
        """Look in the background whether these new tasks have to wait."""
        for task in tasks:
            if task.order is None:
                continue
            if task.order.parents:
                self._children.add(task.id)
            if task.order.sequence_key is not None and task.order.sequence_no is not None:
                key = task.order.sequence_key
                self._last[key] = max(task.order.sequence_no, self._last.get(key, 0))
        self._start()

    def released(self, let_go: LetGo) -> None:
        """Send in the background the tickets of what a transaction has let go."""
        if let_go.ids:
            self._sending.add(let_go)
            self._start()

    async def arm(self, children: Collection[UUID] | None = None) -> int:
        """Tell parents who waits for them, and let go what waits for none; returns how many rows there were."""
        return await self._follow(partial(dependencies.arm, of=children))

    async def resolve_some(self) -> int:
        """Let go some children of a task that ended with many; returns how many there were."""
        return await self._follow(dependencies.resolve_some)

    async def _follow(self, find: Callable[[Connection], Awaitable[tuple[dependencies.Resolved, int]]]) -> int:
        async def work(connection: Connection) -> tuple[LetGo, int]:
            found, count = await find(connection)
            return await follow.armed(connection, found, self._writer), count

        let_go, count = await self._database.unit(work)
        await self.send(let_go)
        return count

    async def advance(self, last: Mapping[str, int]) -> int:
        """Give the turn in sequences where nobody has it, up to these numbers; returns how many tasks were let go."""

        async def work(connection: Connection) -> LetGo:
            made = await release(connection, await sequences.advance(connection, last))
            await sequences.seen(connection, last)
            return made

        let_go = await self._database.unit(work)
        await self.send(let_go)
        return len(let_go.ids)

    async def send(self, let_go: LetGo) -> None:
        """Send the tickets; never raises for Valkey, the stager makes them then."""
        if let_go.places:
            self._promoter.soon(let_go.places)
        await self._promoter.send(let_go.tickets)

    def _start(self) -> None:
        if all(task.done() for task in self.under_way) and (self._children or self._last or self._sending.ids):
            task = asyncio.create_task(self._run(), name="releaser")
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _run(self) -> None:
        while self._children or self._last or self._sending.ids:
            children, self._children = self._children, set()
            last, self._last = self._last, {}
            sending, self._sending = self._sending, LetGo()
            try:
                await self.send(sending)
                for some in chunks(sorted(children), c.ARM_CHUNK):
                    await self.arm(some)
                if last:
                    await self.advance(last)
            except AWAY as error:
                log.warning(
                    "没能放行有先后的任务，由调度器补", children=len(children), sequences=len(last), error=why(error)
                )
