"""Stager: makes due tasks available, tickets rows that have none, rebuilds lost streams, ends expired tasks."""

from __future__ import annotations

from collections.abc import Mapping

from taskmill import constants as c
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.stores import task_stage as store
from taskmill.stores.database import AWAY, Connection, Database
from taskmill.stores.tickets import BROKER_AWAY, Ticket, Tickets
from taskmill.stores.why import why

log = get_logger(__name__)
Lane = tuple[str, int]


class Stager:
    """Runs on every scheduler replica; SKIP LOCKED keeps replicas apart."""

    name = "stager"
    period_s = c.STAGER_PERIOD_S

    def __init__(self, database: Database, tickets: Tickets, *, batch: int = c.STAGE_BATCH) -> None:
        self._database = database
        self._tickets = tickets
        self._batch = batch
        self._writer = new_id()
        self._epochs: dict[str, int] = {}
        self._stale: set[Lane] = set()  # 纪元更新后，可能还有旧票的道

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns staged, expired, fed, epochs (rebuilt) and more (a batch was full)."""
        staged = await self._database.unit(lambda connection: store.stage_due(connection, self._batch))
        expired = await self._database.unit(lambda connection: store.expire(connection, self._batch, self._writer))
        queues = await store.queue_states(self._database.pool)
        rebuilt = await self._refresh_epochs(list(queues)) if queues else 0
        lanes = set(await store.unticketed_lanes(self._database.pool))
        fed, full = 0, staged == self._batch
        for lane in sorted(lanes | self._stale):
            if queues.get(lane[0], False):
                continue  # 暂停的队列不补票，恢复之后再补
            count, more = await self._feed(lane, stale=lane in self._stale)
            fed += count
            full = full or more
        await self._clear_flags([queue for queue, paused in queues.items() if not paused], lanes)
        return {"staged": staged, "expired": expired, "fed": fed, "epochs": rebuilt, "more": int(full)}

    async def _refresh_epochs(self, queues: list[str]) -> int:
        rebuilt = 0
        epochs = await self._tickets.epochs(queues)
        for queue, start in epochs.items():
            begun = start
            if begun is None:
                begun = await self._rebuild(queue)
                rebuilt += begun is not None
            if begun is not None and self._epochs.get(queue) != begun:
                self._epochs[queue] = begun
                self._stale |= {(queue, priority) for priority in c.PRIORITIES}
        return rebuilt

    async def _rebuild(self, queue: str) -> int | None:
        """流被清空：重建消费组，再立纪元；纪元之前的票一律作废。同一时刻只有一个重建者。"""
        async with self._database.transaction() as connection:
            if not await store.try_lock(connection, c.EPOCH_LOCK_KEY):
                return None
            start = await store.now_ms(connection)
            await self._tickets.begin_epoch(queue, start)
        begun = (await self._tickets.epochs([queue]))[queue]
        log.info("票据流已建立", queue=queue, epoch=begun)
        return begun

    async def _feed(self, lane: Lane, *, stale: bool) -> tuple[int, bool]:
        queue, priority = lane
        room = min(self._tickets.window - await self._tickets.length(queue, priority), self._batch)
        if room <= 0:
            return 0, False

        async def take(connection: Connection) -> tuple[list[Ticket], bool]:
            old = await store.feed_stale(connection, queue, priority, self._epochs[queue], room) if stale else []
            if len(old) == room:
                return old, True
            return old + await store.feed(connection, queue, priority, room - len(old)), bool(old)

        tickets, found_stale = await self._database.unit(take)
        if stale and not found_stale:
            self._stale.discard(lane)
        if tickets and not await self._send(queue, priority, tickets):
            return 0, False
        return len(tickets), len(tickets) == self._batch

    async def _send(self, queue: str, priority: int, tickets: list[Ticket]) -> bool:
        try:
            sent = await self._tickets.feed(queue, priority, tickets)
        except BROKER_AWAY:
            await self._take_back(tickets)
            raise
        if not sent:
            await self._take_back(tickets)
        return sent

    async def _take_back(self, tickets: list[Ticket]) -> None:
        try:
            await store.unticket(self._database.pool, [(t.id, t.claim_no) for t in tickets])
        except AWAY as error:
            log.warning("无法撤回票据标记，由审计发现", count=len(tickets), error=why(error))

    async def _clear_flags(self, queues: list[str], lanes: set[Lane]) -> None:
        """上一轮已无缺票的行：提交者可以再次自己送票。"""
        if queues:
            for queue, priority in await self._tickets.flags(queues) - lanes - self._stale:
                await self._tickets.clear_flag(queue, priority)
                log.info("票据窗口已恢复", queue=queue, priority=priority)
