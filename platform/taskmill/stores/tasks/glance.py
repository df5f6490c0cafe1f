"""What there is to do for the loops of the scheduler, in one statement that changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from taskmill.stores.broker.lanes import Lane
from taskmill.stores.database import Queryable, Record
from taskmill.stores.schedule import SOME_DUE
from taskmill.stores.tasks import limits, stage
from taskmill.stores.tasks.order.release import PENDING


def _glance(look: str) -> str:
    """各问各的索引，那些索引通常是空的；合成一句，只为少几次往返。"""
    return f"""
select s.due, s.expired, s.queues, s.priorities, s.firsts,
       l.lined, l.limited, l.fair, l.unlined, ({PENDING}) as pending, ({SOME_DUE}) as fires
from ({look}) s cross join ({limits.LOOK}) l
"""


GLANCE = _glance(stage.LOOK)
GLANCE_LATELY = _glance(stage.LOOK_LATELY)


@dataclass(frozen=True, slots=True)
class Glance:
    """What there is to do; it may say so though somebody did it meanwhile, and never keeps quiet of what was there.

    For the stager: since when some task is `due`, since when the time of some waiting one has passed (`expired`), and the `lanes` have rows without a
    ticket, those of paused queues left out; with each the oldest such row. For the limiter: tasks that line up or have a slot (`lined`), queues with limits,
    unstarted tasks with a fairness key (`fair`), some of them in no line yet (`unlined`). For the releaser: sequences and dependencies to look at (`pending`). For the
    cron: some schedule is due (`fires`).
    """

    due: datetime | None = None
    expired: datetime | None = None
    lanes: Mapping[Lane, UUID] = field(default_factory=dict[Lane, UUID])
    lined: bool = False
    limited: bool = False
    fair: bool = False
    unlined: bool = False
    pending: bool = False
    fires: bool = False

    @property
    def held(self) -> bool:
        """Say whether a round of the limiter may find something."""
        return self.lined or self.limited or self.fair


async def glance(connection: Queryable) -> Glance:
    """Return what there is to do. Errors: asyncpg's."""
    return _seen(await connection.fetchrow(GLANCE))


async def glance_lately(connection: Queryable, before: Glance) -> Glance:
    """Return what there is to do among what came in the last LOOK_LATELY_S and from where there was something `before`.

    It keeps quiet of rows that are older than that and were not to be seen: what a longer transaction committed, or what
    was sent back. Errors: asyncpg's.
    """
    queues, priorities = [queue for queue, _ in before.lanes], [priority for _, priority in before.lanes]
    known = queues, priorities, list(before.lanes.values()), before.due, before.expired
    return _seen(await connection.fetchrow(GLANCE_LATELY, *known))


def _seen(row: Record | None) -> Glance:
    if row is None:
        return Glance()
    due, expired, queues, priorities, firsts, *others = row
    lanes = zip(queues or (), priorities or (), strict=True)
    return Glance(due, expired, dict(zip(lanes, firsts or (), strict=True)), *others)
