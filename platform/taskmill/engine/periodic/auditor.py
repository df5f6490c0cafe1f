"""Auditor: finds tickets that were lost or got stuck, so that no available task waits for ever (invariant 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as ec
from taskmill.engine.periodic.cost import Cost
from taskmill.log import get_logger
from taskmill.stores.broker import lanes as streams
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.database import Database
from taskmill.stores.tasks import audit as store
from taskmill.stores.tasks import stage as task_stage

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AuditorConfig:
    """When a ticket counts as lost or stuck, and how many are repaired per lane and round.

    `consumers_s`: how often every queue is looked at, also those that no worker serves.
    """

    margin_s: float = c.LOST_TICKET_MARGIN_S
    idle_ms: int = ec.PENDING_IDLE_MS
    consumers_s: float = ec.AUDIT_CONSUMERS_S
    batch: int = ec.AUDIT_BATCH


class Auditor:
    """Runs on every scheduler replica; repairs are idempotent.

    Lost: a stream is FIFO in ticket_at, so an available row whose ticket is older than the stream's head by more than
    the margin has none. Stuck: a ticket that was read but neither claimed nor dropped for `idle_ms`. Both are marked
    as missing in PostgreSQL, and the stager makes new ones; a ticket too many is harmless (invariant 4).
    """

    name = "auditor"

    def __init__(
        self, database: Database, tickets: Tickets, config: AuditorConfig | None = None, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._database = database
        self._tickets = tickets
        self._config = config or AuditorConfig()
        self._clock = clock
        self._swept_at = float("-inf")
        self._cost = Cost(ec.SWEEP_COST_RATIO)
        self._pending: dict[Lane, dict[bytes, float]] = {}  # 读走未撕的票，各是何时头一次看见的
        self.period_s = ec.AUDITOR_PERIOD_S

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns lost and stuck (tickets), consumers (removed) and more (a batch was full)."""
        began = self._clock.monotonic()
        lost, more_lost = await self._lost()
        sweeping = began - self._swept_at >= self._config.consumers_s
        stuck, more_stuck = await self._stuck(await self._lanes(everywhere=sweeping))
        removed = 0
        if sweeping:
            removed = await self._remove_consumers(await self._lanes(everywhere=True))
            self._swept_at = began
        # 道很多时查得慢，就查得稀一些
        self.period_s = max(ec.AUDITOR_PERIOD_S, self._cost.rest(self._clock.monotonic() - began))
        return {"lost": lost, "stuck": stuck, "consumers": removed, "more": int(more_lost or more_stuck)}

    async def _lanes(self, *, everywhere: bool) -> list[Lane]:
        """票卡住，必有人读过：平时只看有工作进程服务的队列，隔一阵才看所有的。"""
        pool = self._database.pool
        queues = await task_stage.queue_states(pool) if everywhere else await store.served_queues(pool)
        return [(queue, priority) for queue in queues for priority in c.PRIORITIES]

    async def _lost(self) -> tuple[int, bool]:
        total, more = 0, False
        margin_ms = round(self._config.margin_s * 1000)
        aged = await store.aged_lanes(self._database.pool, self._config.margin_s)
        # 次序要紧：先看流头，再改表。反过来会把刚被取走的票当成丢了
        heads = await streams.heads(self._tickets, [(lane.queue, lane.priority) for lane in aged])
        for lane in aged:
            head_ms = heads[lane.queue, lane.priority]
            for after_ms, before_ms in store.lost_spans(lane, head_ms, margin_ms):
                count = await store.forget_lost(
                    self._database.pool, lane.queue, lane.priority, after_ms, before_ms, self._config.batch
                )
                if count:
                    log.warning("发现丢失的票据，交给 stager 重发", queue=lane.queue, priority=lane.priority, count=count)
                total += count
                more = more or count == self._config.batch
        return total, more

    async def _stuck(self, lanes: list[Lane]) -> tuple[int, bool]:
        total, more = 0, False
        filled = [lane for lane, length in (await streams.lengths(self._tickets, lanes)).items() if length]
        pending = await streams.pending(self._tickets, filled, self._config.batch)
        for (queue, priority), idle in self._idle(lanes, pending).items():
            entries = await self._tickets.entries(queue, priority, idle)
            # 先提交「此行无票」，再撕票：中途死掉最多多出一张票
            await task_stage.unticket(self._database.pool, [(ticket.id, ticket.claim_no) for _, ticket in entries])
            await self._tickets.drop(queue, priority, idle)  # 流里已没有、只剩待确认的，也一并了结
            log.warning("撤下无人处理的票据", queue=queue, priority=priority, count=len(entries))
            total += len(entries)
            more = more or len(entries) == self._config.batch
        return total, more

    def _idle(self, lanes: list[Lane], pending: Mapping[Lane, Mapping[bytes, int]]) -> dict[Lane, list[bytes]]:
        """放得够久的票。Valkey 的钟往回拨之后，它说的时长全是零：自己也记下头一次看见的时刻，哪个先到算哪个。"""
        now, found = self._clock.monotonic(), dict[Lane, list[bytes]]()
        for lane in lanes:
            before, idle_ms = self._pending.pop(lane, {}), pending.get(lane, {})
            if not idle_ms:
                continue
            since = self._pending[lane] = {entry: before.get(entry, now) for entry in idle_ms}
            longest = {entry: max(ms, (now - since[entry]) * 1000) for entry, ms in idle_ms.items()}
            if idle := [entry for entry, ms in longest.items() if ms >= self._config.idle_ms]:
                found[lane] = idle
        return found

    async def _remove_consumers(self, lanes: list[Lane]) -> int:
        named = {lane: _workers(names) for lane, names in (await streams.consumers(self._tickets, lanes)).items()}
        everyone = sorted({worker_id for workers in named.values() for worker_id in workers.values()})
        living = await store.alive(self._database.pool, everyone) if everyone else set[UUID]()
        removed = 0
        for (queue, priority), workers in named.items():
            dead = [name for name, worker_id in workers.items() if worker_id not in living]
            if dead:
                removed += await self._tickets.remove_consumers(queue, priority, dead)
        if removed:
            log.info("已清理死去的消费者", count=removed)
        return removed


def _workers(names: Iterable[str]) -> dict[str, UUID]:
    """消费者以工作进程的编号为名；别的名字不是我们的，不碰。"""
    found: dict[str, UUID] = {}
    for name in names:
        try:
            found[name] = UUID(name)
        except ValueError:
            continue
    return found
