"""Rescuer: takes running tasks back from workers that fell silent, and from attempts far past their deadline.

What it must not do is to mistake its own trouble for the death of others. While PostgreSQL is away or frozen nobody
can renew a lease, so the rescuer acts only after a full lease of its own uninterrupted ticks: time in which every
living worker could renew. A tick that took too long undoes what it did, and the count begins anew. So it does when the
database's clock stepped forward: then every lease looks expired at once, until its worker renews.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine import constants as ec
from taskmill.engine.attempts.outcomes import taken_back, timed_out
from taskmill.engine.periodic.clock_watch import ClockWatch
from taskmill.engine.tally import Tally
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.states import State
from taskmill.stores.database import Connection, Database, Queryable
from taskmill.stores.tasks import rescue as store
from taskmill.stores.tasks import settle as task_settle
from taskmill.stores.tasks import submit as task_submit
from taskmill.stores.tasks.failures import Failed
from taskmill.stores.tasks.limits import Place
from taskmill.stores.tasks.order.release import LetGo
from taskmill.stores.tasks.settle import Outcome

log = get_logger(__name__)
IDLE = {"dead": 0, "rescued": 0, "overdue": 0, "more": 0}


@dataclass(frozen=True, slots=True)
class RescuerConfig:
    """`lease_s` as the workers have it; `grace_s` after a deadline before an attempt is taken from a living worker."""

    lease_s: float = c.LEASE_S
    grace_s: float = c.DEADLINE_GRACE_S
    batch: int = ec.RESCUE_BATCH

    @property
    def gap_s(self) -> float:
        """Return the longest time between two ticks that counts as uninterrupted.

        Half a lease: a worker renews before two thirds of its lease are left, so a shorter outage expires none.
        """
        return self.lease_s / 2

    @property
    def step_s(self) -> float:
        """Return by how much the database's clock may step forward before it counts: less expires no lease."""
        return self.lease_s / 4


@dataclass(frozen=True, slots=True)
class _Round:
    """一轮写了什么。"""

    counts: Mapping[str, int] = field(default_factory=lambda: IDLE)
    dead: Sequence[UUID] = ()
    outcomes: Sequence[Outcome] = ()
    settled: Mapping[UUID, State] = field(default_factory=dict[UUID, State])
    let_go: LetGo = field(default_factory=LetGo)
    failed: Sequence[Failed] = ()


class _InterruptedError(Exception):
    """这一轮拖得太久，撤销它。"""


class Rescuer:
    """Runs on every scheduler replica; each needs its own full lease of ticks before it acts."""

    name = "rescuer"

    def __init__(
        self,
        database: Database,
        config: RescuerConfig | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        tally: Tally | None = None,
        freed: Callable[[Iterable[Place]], None] | None = None,
        released: Callable[[LetGo], None] = lambda _: None,
        failed: Callable[[Iterable[Failed]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._config = config or RescuerConfig()
        self._clock = clock
        self._writer = new_id()
        self.tally = tally or Tally()
        self._freed, self._released, self._failed = freed, released, failed
        self._since: float | None = None  # 不间断的一串成功从何时开始
        self._seen = clock.monotonic()  # 上一次成功
        self._watch = ClockWatch(self._config.step_s)
        self.period_s = min(ec.RESCUER_PERIOD_S, self._config.lease_s / 8)

    @property
    def armed(self) -> bool:
        """Say whether a full lease of uninterrupted ticks has passed."""
        return self._since is not None and self._clock.monotonic() - self._since >= self._config.lease_s

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns dead (workers), rescued (their rows), overdue (rows past the deadline) and more."""
        if self._interrupted():
            self._since = None
        try:
            done = await self._rescue()
        except _InterruptedError:
            self._since = None
            log.warning("数据库曾长时间无响应，暂不救援", lease_s=self._config.lease_s)
            done = _Round()
        except BaseException:
            self._since = None
            raise
        self._report(done)
        self._seen = self._clock.monotonic()
        if self._since is None:
            self._since = self._seen
        return done.counts

    def _interrupted(self) -> bool:
        return self._clock.monotonic() - self._seen > self._config.gap_s

    async def _rescue(self) -> _Round:
        """闲的时候只看一眼，不开事务。"""
        some = await self._look(self._database.pool, self._clock.monotonic())
        if not self.armed:
            return _Round()
        if self._interrupted():
            raise _InterruptedError
        if not some:
            return _Round()
        asked = self._clock.monotonic()  # 事务的时间从 BEGIN 起算，要在它之前问
        return await self._database.unit(partial(self._round, asked))

    async def _look(self, connection: Queryable, asked: float) -> bool:
        """看数据库的时钟，也看有没有事。"""
        now_s, some = await store.look(connection, self._config.grace_s)
        if step_s := self._watch.look(now_s, asked, self._clock.monotonic()):
            log.warning("数据库的时钟往前跳了，暂不救援", step_s=round(step_s, 1), lease_s=self._config.lease_s)
            self._since = None
        return some

    async def _round(self, asked: float, connection: Connection) -> _Round:
        await self._look(connection, asked)  # 这个事务的时间才是判断租约用的
        if not self.armed:
            return _Round()
        dead = await store.mark_dead(connection)
        lost = await store.fetch_lost(connection)
        overdue = await store.fetch_overdue(
            connection, self._config.grace_s, self._config.batch, self._config.lease_s, (self._watch.by_s, self._watch.at_s)
        )
        outcomes = [taken_back(row) for row in lost] + [timed_out(row) for row in overdue]
        if moved := {outcome.queue for outcome in outcomes if outcome.queue is not None}:
            await task_submit.ensure_queues(connection, sorted(moved))
        let_go, failed = LetGo(), list[Failed]()
        settled = await task_settle.settle(connection, outcomes, self._writer, let_go, failed) if outcomes else {}
        # 语句可能正好卡在停摆里，停摆之后才看到一片过期的租约
        if self._interrupted():
            raise _InterruptedError
        counts = {
            "dead": len(dead),
            "rescued": sum(row.id in settled for row in lost),
            "overdue": sum(row.id in settled for row in overdue),
            "more": int(len(overdue) == self._config.batch),
        }
        return _Round(counts, dead, outcomes, settled, let_go, failed)

    def _report(self, done: _Round) -> None:
        """提交之后才算数，也才说。"""
        for worker_id in done.dead:
            log.warning("工作进程失联，已判死", worker_id=str(worker_id))
        for outcome in done.outcomes:
            if outcome.id in done.settled:
                log.info(
                    "任务已救援",
                    task_id=str(outcome.id),
                    worker_id=str(outcome.worker_id),
                    claim_no=outcome.claim_no,
                    state=done.settled[outcome.id].value,
                    cause=outcome.cause.value if outcome.cause else None,
                )
        self.tally.note(done.outcomes, done.settled)
        self._released(done.let_go)
        self._failed(done.failed)
        if self._freed is not None and (places := {each.place for each in done.outcomes if each.place is not None}):
            self._freed(places)
