"""What there is to do for the loops of the scheduler, in one statement that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskmill.stores.broker.lanes import Lane
from taskmill.stores.database import Queryable
from taskmill.stores.schedule import SOME_DUE
from taskmill.stores.tasks import limits, stage
from taskmill.stores.tasks.order.release import PENDING

# 各问各的索引，那些索引通常是空的；合成一句，只为少几次往返
GLANCE = f"""
select s.due, s.expired, s.queues, s.priorities, l.lined, l.limited, l.fair, l.unlined, ({PENDING}) as pending, ({SOME_DUE}) as fires
from ({stage.LOOK}) s cross join ({limits.LOOK}) l
"""


@dataclass(frozen=True, slots=True)
class Glance:
    """What there is to do; it may say so though somebody did it meanwhile, and never keeps quiet of what was there.

    For the stager: some task is `due`, the time of some waiting one has passed (`expired`), and `lanes` have rows without a
    ticket, those of paused queues left out. For the limiter: tasks that line up or have a slot (`lined`), queues with limits,
    unstarted tasks with a fairness key (`fair`), some of them in no line yet (`unlined`). For the releaser: sequences and dependencies to look at (`pending`). For the
    cron: some schedule is due (`fires`).
    """

    due: bool = False
    expired: bool = False
    lanes: Sequence[Lane] = ()
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
    row = await connection.fetchrow(GLANCE)
    if row is None:
        return Glance()
    due, expired, queues, priorities, *others = row
    return Glance(due, expired, list(zip(queues or (), priorities or (), strict=True)), *others)
