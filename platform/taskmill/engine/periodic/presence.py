"""How others know that a scheduler lives: a row that it renews while all of its loops come round."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

import taskmill
from taskmill.engine import constants as c
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.stores.database import AWAY, Database
from taskmill.stores.why import why
from taskmill.stores.workers import scheduler as store
from taskmill.stores.workers.scheduler import SchedulerRow

log = get_logger(__name__)


class Presence:
    """Renews the row of this scheduler; `stuck` names the loops that no longer come round: then it does not."""

    name = "presence"
    period_s = c.SCHEDULER_BEAT_S

    def __init__(self, database: Database, stuck: Callable[[], list[str]] = list) -> None:
        self._database = database
        self._stuck = stuck
        self.row = SchedulerRow(new_id(), socket.gethostname(), os.getpid(), taskmill.__version__)

    async def run_once(self) -> Mapping[str, int]:
        """Renew once; returns `renewed` or `stuck`, the number of loops that are."""
        stuck = self._stuck()
        if stuck:
            log.warning("有循环卡住，不再声称调度器活着", loops=stuck)
            return {"stuck": len(stuck)}
        await store.renew(self._database.pool, self.row, lease_s=c.SCHEDULER_LEASE_S, keep_s=c.WORKER_KEEP_S)
        return {"renewed": 1}

    async def leave(self) -> None:
        """Remove the row; a database that is away lets it run out by itself."""
        try:
            async with asyncio.timeout(c.SCHEDULER_LEAVE_S):
                await store.leave(self._database.pool, self.row.id)
        except AWAY as error:
            log.warning("未能注销调度器，租约到期后自动失效", error=why(error))
