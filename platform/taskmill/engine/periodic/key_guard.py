"""Key guard: a key of ours with a foreign type would stop its queue for good; it is named, deleted and made anew."""

from __future__ import annotations

from collections.abc import Mapping

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as c
from taskmill.engine.periodic.cost import Cost
from taskmill.log import get_logger
from taskmill.stores.broker import foreign_keys
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.database import Database
from taskmill.stores.tasks import stage as task_stage

log = get_logger(__name__)


class KeyGuard:
    """Runs on every scheduler replica; a repair is one script, so that replicas do not undo each other's work."""

    name = "key_guard"

    def __init__(self, database: Database, tickets: Tickets, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._tickets = tickets
        self._clock = clock
        self._cost = Cost(c.KEY_GUARD_COST_RATIO, first=0.0)
        self.period_s = self.least_s = c.KEY_GUARD_PERIOD_S

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns repaired (queues)."""
        began = self._clock.monotonic()
        repaired = 0
        queues = await task_stage.queue_states(self._database.pool)
        for queue in await foreign_keys.find(self._tickets, list(queues)):
            gone = await foreign_keys.repair(self._tickets, queue)
            if gone:
                log.error("键被别的类型占用，已删除，由 stager 重建", queue=queue, keys=gone)
                repaired += 1
        # 队列很多时查得慢，就查得稀一些
        self.period_s = max(self.least_s, self._cost.rest(self._clock.monotonic() - began))
        return {"repaired": repaired}
