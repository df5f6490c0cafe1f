"""Limiter: lines up tasks of queues with limits and with fairness keys, gives slots that nobody gave at once, and tokens as buckets fill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as ec
from taskmill.engine.periodic.cost import Cost
from taskmill.engine.periodic.lookout import Lookout
from taskmill.log import get_logger
from taskmill.services.queues.limits import Promoter
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.database import Database, Queryable
from taskmill.stores.tasks import limits as store
from taskmill.stores.tasks import turns
from taskmill.stores.tasks.rates import Place

log = get_logger(__name__)
FIRST = ("", "")
FIRST_LANE: Lane = ("", 0)
NOTHING = {"enrolled": 0, "released": 0, "promoted": 0, "more": 0}


class Limiter:
    """Runs on every scheduler replica; the lock on a queue's row keeps replicas apart.

    A slot is given by whoever frees it. This loop does what has no such moment: a queue gets or loses a limit, a process
    ends before it came to it, a bucket fills. Without limits and fairness keys a round asks nothing of its own, with nothing to do one statement.
    """

    name = "limiter"

    def __init__(
        self,
        database: Database,
        promoter: Promoter,
        *,
        batch: int = ec.STAGE_BATCH,
        clock: Clock = SYSTEM_CLOCK,
        lookout: Lookout | None = None,
    ) -> None:
        self._database = database
        self._lookout = lookout or Lookout(database)
        self._promoter = promoter
        self._batch = batch
        self._clock = clock
        self._after = FIRST  # 上一轮看到哪个键
        self._keys_at = float("-inf")  # 何时再看被挡的键
        self._cost = Cost(ec.SWEEP_COST_RATIO, first=0.0)
        self._walked_s = 0.0  # 这一遍看到现在用了多久
        self._after_lane: Lane = FIRST_LANE
        self._lanes_at = float("-inf")
        self._mended_at = float("-inf")
        self._lanes_cost = Cost(ec.SWEEP_COST_RATIO, first=0.0)
        self.period_s = ec.LIMITER_PERIOD_S

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns enrolled, released, promoted and more (a batch was full)."""
        self.period_s = ec.LIMITER_PERIOD_S
        look = await self._lookout.recent()
        if not look.held:
            return NOTHING
        async with self._database.pool.acquire() as connection:
            released, places, wanted = 0, Counter[Place](), set[Place]()
            if look.lined or look.limited:
                mended = await store.mend(connection, self._batch, ec.LIMIT_KEYS)
                released, places, wanted = mended.released, mended.enrolled, mended.room
            if look.fair:
                if look.unlined:
                    places += await turns.line_up(connection, self._batch)
                await self._mend(connection)
                wanted.update(await self._lanes(connection))
            if look.limited:
                wanted.update(await self._keys(connection))
        wanted.update(places)
        given = await self._promoter.give(wanted)
        promoted = sum(map(len, given.tickets.values()))
        if given.refill_s:  # 下一个令牌什么时候有，就什么时候再来
            self.period_s = min(self.period_s, max(ec.LIMITER_MIN_S, min(given.refill_s.values())))
        enrolled = places.total()
        full = max(released, enrolled, promoted) >= self._batch
        return {"enrolled": enrolled, "released": released, "promoted": promoted, "more": int(full)}

    async def _mend(self, connection: Queryable) -> None:
        if self._clock.monotonic() - self._mended_at >= ec.MEND_PERIOD_S:
            self._mended_at = self._clock.monotonic()
            if made := await turns.make_queues(connection):
                log.info("补上删掉的队列：有任务等着轮到", queues=made[: ec.LOG_NAMES_MAX], count=len(made))

    async def _lanes(self, connection: Queryable) -> list[Place]:
        """接着看下一段等着轮到公平键的道，照样歇。"""
        began = self._clock.monotonic()
        if began < self._lanes_at:
            return []
        queues, after = await turns.waiting(connection, self._after_lane, ec.LIMIT_LANES, self._promoter.window)
        self._after_lane = after or FIRST_LANE
        rest = self._lanes_cost.rest(self._clock.monotonic() - began)
        self._lanes_at = began if queues or after else began + min(rest, ec.LIMITER_REST_S)
        return [(queue, None) for queue in queues]

    async def _keys(self, connection: Queryable) -> list[Place]:
        """接着看下一段被挡的键；都看过而没有放行的，就歇一会儿。"""
        began = self._clock.monotonic()
        if began < self._keys_at:
            return []
        places, after = await store.held_keys(connection, self._after, ec.LIMIT_KEYS)
        self._after = after or FIRST
        self._walked_s += self._clock.monotonic() - began
        if after is None:
            rest, self._walked_s = self._cost.rest(self._walked_s), 0.0
            self._keys_at = began if places else began + min(rest, ec.LIMITER_REST_S)
        return list(places)
