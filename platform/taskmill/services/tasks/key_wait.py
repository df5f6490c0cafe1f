"""Submits whose unique key or sequence another transaction holds: they wait a second, and nobody else behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from taskmill.clock import Clock
from taskmill.services import constants as c
from taskmill.services.tasks.inserting import Inserter
from taskmill.services.tasks.unique import busy
from taskmill.stores.tasks.submit import Inserted, NewTask
from taskmill.stores.tasks.unique import KeyHeldError

_UNSEEN = -1


class KeyWait:
    """Inserts one task, or those of one sequence together, which wait UNIQUE_WAIT_S for their key.

    Nobody else waits behind them: what holds a connection lasts a look, and only two do so at a time. Where many submit to
    one sequence, the second begins anew with each of them that gets through: only a transaction that stays open is told.
    """

    def __init__(self, inserter: Inserter, clock: Clock) -> None:
        self._inserter = inserter
        self._clock = clock
        self._turn = asyncio.Semaphore(c.GROUP_COMMIT_FLUSHERS)

    async def insert(self, tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
        """Return what became of each; UnavailableError UNIQUE_BUSY or SEQUENCE_BUSY, and the errors of a submit.

        KeyHeldError if one of several waits for a unique key, on which the others do not depend.
        """
        key = sequence_of(tasks[0])
        last: int | None = _UNSEEN
        until = self._clock.monotonic() + c.UNIQUE_WAIT_S
        while True:
            async with self._turn:
                try:
                    return await self._inserter.insert(tasks, c.UNIQUE_LOOK_MS if key is None else c.UNIQUE_GROUP_MS)
                except KeyHeldError as error:
                    if len(tasks) > 1 and not error.sequence:
                        raise
                    held = error
                before, last = last, await self._inserter.drawn(key) if held.sequence and key is not None else last
            if last != before:
                until = self._clock.monotonic() + c.UNIQUE_WAIT_S
            elif self._clock.monotonic() >= until:
                raise busy(tasks, held)
            await asyncio.sleep(c.UNIQUE_AGAIN_S)


def sequence_of(task: NewTask) -> str | None:
    """Return the key of its sequence, None if it is in none."""
    return None if task.order is None else task.order.sequence_key
