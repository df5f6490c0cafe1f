"""Limiter: lines up tasks of queues with limits, gives slots that nobody gave at once, and tokens as buckets fill."""

from __future__ import annotations

from collections.abc import Mapping

from taskmill.engine import constants as ec
from taskmill.log import get_logger
from taskmill.services.queues.limits import Promoter
from taskmill.stores.database import Database
from taskmill.stores.tasks import limits as store
from taskmill.stores.tasks import rates

log = get_logger(__name__)
FIRST = ("", "")


class Limiter:
    """Runs on every scheduler replica; the lock on a queue's row keeps replicas apart.

    A slot is given by whoever frees it. This loop does what has no such moment: a queue gets or loses a limit, a process
    ends before it came to it, a bucket fills. Without queues with limits a round is one look at an empty index.
    """

    name = "limiter"

    def __init__(self, database: Database, promoter: Promoter, *, batch: int = ec.STAGE_BATCH) -> None:
        self._database = database
        self._promoter = promoter
        self._batch = batch
        self._after = FIRST  # 上一轮看到哪个键
        self.period_s = ec.LIMITER_PERIOD_S

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns enrolled, released, promoted and more (a batch was full)."""
        pool = self._database.pool
        self.period_s = ec.LIMITER_PERIOD_S
        released = await store.release(pool, self._batch)
        if not await store.limited(pool):
            return {"enrolled": 0, "released": released, "promoted": 0, "more": int(released >= self._batch)}
        await store.adopt(pool)
        await rates.cap(pool)
        places = await store.enrol(pool, self._batch)
        keys = await store.held_keys(pool, self._after, ec.LIMIT_KEYS)
        self._after = keys[-1] if len(keys) == ec.LIMIT_KEYS else FIRST
        queues = await store.held_queues(pool)
        given = await self._promoter.give([*places, *keys, *((queue, None) for queue in queues)])
        promoted = sum(map(len, given.tickets.values()))
        if given.refill_s:  # 下一个令牌什么时候有，就什么时候再来
            self.period_s = min(self.period_s, max(ec.LIMITER_MIN_S, min(given.refill_s.values())))
        enrolled = places.total()
        full = max(released, enrolled, promoted) >= self._batch
        return {"enrolled": enrolled, "released": released, "promoted": promoted, "more": int(full)}
