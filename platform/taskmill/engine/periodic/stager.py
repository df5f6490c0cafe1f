"""Stager: makes due tasks available, tickets rows that have none, rebuilds lost streams, ends expired tasks.

A round costs what there is to do, not how many queues there are: an idle one is one statement, and only lanes with a row without a ticket are looked at.
What no row tells, a stream that Valkey lost while its rows believe in their tickets, is found by a sweep over all
queues; with thousands of them it comes less often.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from uuid import UUID

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as ec
from taskmill.engine.periodic.cost import Cost
from taskmill.engine.periodic.lookout import Lookout
from taskmill.engine.tally import Tally
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.stores.broker import lanes as streams
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import BROKER_AWAY, Ticket, Tickets
from taskmill.stores.database import AWAY, Connection, Database
from taskmill.stores.tasks import stage as store
from taskmill.stores.tasks.order.release import LetGo
from taskmill.stores.why import why

log = get_logger(__name__)


class Stager:
    """Runs on every scheduler replica; SKIP LOCKED keeps replicas apart."""

    name = "stager"
    period_s = c.STAGER_PERIOD_S

    def __init__(
        self,
        database: Database,
        tickets: Tickets,
        *,
        batch: int = ec.STAGE_BATCH,
        tally: Tally | None = None,
        clock: Clock = SYSTEM_CLOCK,
        released: Callable[[LetGo], None] = lambda _: None,
        lookout: Lookout | None = None,
    ) -> None:
        self._database = database
        self._lookout = lookout or Lookout(database)
        self._released = released
        self._tickets = tickets
        self._batch = batch
        self._tally = tally or Tally()
        self._clock = clock
        self._writer = new_id()
        self._sweep_at = float("-inf")
        self._cost = Cost(ec.SWEEP_COST_RATIO)
        self._missing: list[str] = []  # 遍查时没有流、还没轮到重建的队列
        self._stale: dict[Lane, int] = {}  # 有旧票的道，和它们的纪元
        self._firsts: Mapping[Lane, UUID] = {}  # 这一轮有无票行的道，各自最早的一行
        self._fed_last: Lane = ("", 0)
        self._fed: set[Lane] = set()  # 补过票、也许还立着标志的道

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns staged, expired, fed, epochs (rebuilt) and more (a batch was full)."""
        look = await self._lookout.look()
        due = await self._stage(look.due) if look.due else []
        staged = await self._oldest(due)
        self._firsts = waiting = {
            **look.lanes,
            **{lane: min(id_, look.lanes.get(lane, id_)) for lane, id_ in staged.items()},
        }
        # 刚到期的先补：别的道再多，也不耽误它们
        fed, full, rebuilt = await self._feed_all(sorted(staged))
        expired = await self._expire(look.expired) if look.expired else 0
        if self._missing:
            rebuilt += await self._rebuild_next()
        elif self._clock.monotonic() >= self._sweep_at:
            rebuilt += await self._sweep()
        await self._clear_flags(waiting.keys())
        count, more, begun = await self._feed_all(self._in_turn((waiting.keys() | self._stale.keys()) - staged.keys()))
        return {
            "staged": len(due),
            "expired": expired,
            "fed": fed + count,
            "epochs": rebuilt + begun,
            "more": int(full or more or len(due) == self._batch or bool(self._missing)),
        }

    async def _oldest(self, due: Iterable[tuple[Lane, UUID]]) -> dict[Lane, UUID]:
        """刚到期的在哪些道里，各道最早的是哪一行；暂停的队列不补票。"""
        oldest: dict[Lane, UUID] = {}
        for lane, id_ in due:
            oldest[lane] = min(id_, oldest.get(lane, id_))
        queues = {queue for queue, _ in oldest}
        paused = await store.paused_among(self._database.pool, queues) if queues else ()
        return {lane: id_ for lane, id_ in oldest.items() if lane[0] not in paused}

    async def _stage(self, since: datetime) -> list[tuple[Lane, UUID]]:
        return await self._database.unit(lambda connection: store.stage_due(connection, self._batch, since))

    async def _expire(self, since: datetime) -> int:
        rows, let_go = await self._database.unit(
            lambda connection: store.expire(connection, self._batch, self._writer, since)
        )
        self._released(let_go)
        for row in rows:
            self._tally.expired(row["id"], row["kind"], row["queue"], row["attempt"])
        return len(rows)

    async def _feed_all(self, lanes: list[Lane]) -> tuple[int, bool, int]:
        """补票，一次一组道，到时即止；返回补了几张、是否还有、重建了几个纪元。"""
        fed, full, rebuilt = 0, False, 0
        end = self._clock.monotonic() + ec.STAGE_ROUND_S
        for part in streams.chunks(lanes):
            if self._clock.monotonic() > end:
                return fed, True, rebuilt
            self._fed_last = part[-1]
            count, more, begun = await self._feed(part)
            fed, full, rebuilt = fed + count, full or more, rebuilt + begun
        return fed, full, rebuilt

    def _in_turn(self, lanes: Iterable[Lane]) -> list[Lane]:
        """从上一轮停下的地方接着来：前面的道补不进去时，后面的也轮得到。"""
        ordered = sorted(lanes)
        start = bisect_right(ordered, self._fed_last)
        return ordered[start:] + ordered[:start]

    async def _sweep(self) -> int:
        """遍查所有队列：补上失去的纪元，找出纪元之前的旧票和立着的标志。"""
        began = self._clock.monotonic()
        queues = await store.queue_states(self._database.pool)
        epochs = await streams.epochs(self._tickets, queues)
        self._missing = [queue for queue in queues if queue not in epochs]
        missing = self._missing[: ec.REBUILD_MAX]
        rebuilt = await self._rebuild_next()
        if rebuilt:
            epochs |= await streams.epochs(self._tickets, missing)
        oldest = await store.ticketed_lanes(self._database.pool)
        self._stale = {
            lane: epochs[lane[0]].start
            for lane, at_ms in oldest.items()
            if lane[0] in epochs and at_ms < epochs[lane[0]].start
        }
        self._fed |= {(q, p) for q, epoch in epochs.items() if not queues.get(q) for p in epoch.full}
        rest = max(ec.SWEEP_MIN_S, self._cost.rest(self._clock.monotonic() - began))
        self._sweep_at = began + (0.0 if self._missing or len(missing) > rebuilt else rest)
        return rebuilt

    async def _rebuild_next(self) -> int:
        """重建下一批；都轮到之后再遍查一遍。"""
        part, self._missing = self._missing[: ec.REBUILD_MAX], self._missing[ec.REBUILD_MAX :]
        return await self._rebuild(part)

    async def _rebuild(self, queues: list[str]) -> int:
        """流被清空：重建消费组，再立纪元；纪元之前的票一律作废。同一时刻只有一个重建者。"""
        if not queues:
            return 0
        async with self._database.transaction() as connection:
            if not await store.try_lock(connection, ec.EPOCH_LOCK_KEY):
                return 0
            start = await store.now_ms(connection)
            await streams.begin_epochs(self._tickets, queues, start)
        log.info("票据流已建立", queues=queues[: ec.LOG_NAMES_MAX], count=len(queues), epoch=start)
        return len(queues)

    async def _feed(self, lanes: list[Lane]) -> tuple[int, bool, int]:
        """给一组道补票。"""
        queues = {queue for queue, _ in lanes}
        known = await streams.epochs(self._tickets, queues)
        rebuilt = await self._rebuild(sorted(queues - set(known))) if len(known) < len(queues) else 0
        limit = max(ec.STAGE_LANE_MIN, self._batch // len(lanes))
        lengths = await streams.lengths(self._tickets, lanes)
        rooms = {lane: min(self._tickets.window - lengths[lane], limit) for lane in lanes}
        rooms = {lane: room for lane, room in rooms.items() if room > 0}
        if not rooms:
            return 0, False, rebuilt
        found = await self._database.unit(lambda connection: self._take(connection, rooms))
        fed = await self._send(found)
        self._fed |= set(found)
        return fed, fed > 0 and any(len(tickets) == limit for tickets in found.values()), rebuilt

    async def _take(self, connection: Connection, rooms: Mapping[Lane, int]) -> dict[Lane, list[Ticket]]:
        """旧票在前；一条道的旧票补完了，就不再算它。"""
        found: dict[Lane, list[Ticket]] = {}
        stale = {lane: room for lane, room in rooms.items() if lane in self._stale}
        if stale:
            found = await store.feed_stale(connection, stale, self._stale)
            for lane in stale.keys() - found.keys():
                del self._stale[lane]
        left = {lane: room - len(found.get(lane, ())) for lane, room in rooms.items() if lane in self._firsts}
        left = {lane: room for lane, room in left.items() if room > 0}
        for lane, tickets in (await store.feed(connection, left, self._firsts)).items() if left else ():
            found[lane] = found.get(lane, []) + tickets
        return found

    async def _send(self, found: Mapping[Lane, list[Ticket]]) -> int:
        try:
            refused = await streams.feed(self._tickets, found)
        except BROKER_AWAY:
            await self._take_back(found.values())
            raise
        if refused:
            await self._take_back(found[lane] for lane in refused)
        return sum(len(tickets) for lane, tickets in found.items() if lane not in refused)

    async def _take_back(self, batches: Iterable[list[Ticket]]) -> None:
        tickets = [(ticket.id, ticket.claim_no) for batch in batches for ticket in batch]
        try:
            await store.unticket(self._database.pool, tickets)
        except AWAY as error:
            log.warning("无法撤回票据标记，由审计发现", count=len(tickets), error=why(error))

    async def _clear_flags(self, waiting: AbstractSet[Lane]) -> None:
        """补过票的道已无缺票的行：提交者可以再次自己送票。"""
        done = self._fed - waiting - self._stale.keys()
        if not done:
            return
        queues = {queue for queue, _ in done}
        paused = await store.paused_among(self._database.pool, queues)
        epochs = await streams.epochs(self._tickets, queues - paused)
        for queue, priority in done:
            if queue in epochs and priority in epochs[queue].full:
                await self._tickets.clear_flag(queue, priority)
                log.info("票据窗口已恢复", queue=queue, priority=priority)
        self._fed -= {lane for lane in done if lane[0] not in paused}
