"""Rescuer: takes running tasks back from workers that fell silent, and from attempts far past their deadline.

What it must not do is to mistake its own trouble for the death of others. While PostgreSQL is away or frozen nobody
can renew a lease, so the rescuer acts only after a full lease of its own uninterrupted ticks: time in which every
living worker could renew. A tick that took too long undoes what it did, and the count begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from taskmill import constants as c
from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.engine.attempt import backoff_s, error_json
from taskmill.engine.tally import Tally
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.plugin.definition import RetryPolicy
from taskmill.states import INFRASTRUCTURE, By, Cause, State
from taskmill.stores.database import Connection, Database
from taskmill.stores.tasks import rescue as store
from taskmill.stores.tasks import settle as task_settle
from taskmill.stores.tasks import submit as task_submit
from taskmill.stores.tasks.rescue import RunningRow
from taskmill.stores.tasks.settle import Outcome
from taskmill.words import Words

log = get_logger(__name__)
REASONS = {
    Cause.CRASH: reasons.WORKER_SILENT, Cause.OOM: reasons.OUT_OF_MEMORY, Cause.EVICTED: reasons.EVICTED,
    Cause.DRAIN: reasons.POD_STOPPED, Cause.NODE_LOST: reasons.NODE_LOST,
}  # fmt: skip
IDLE = {"dead": 0, "rescued": 0, "overdue": 0, "more": 0}


@dataclass(frozen=True, slots=True)
class RescuerConfig:
    """`lease_s` as the workers have it; `grace_s` after a deadline before an attempt is taken from a living worker."""

    lease_s: float = c.LEASE_S
    grace_s: float = c.DEADLINE_GRACE_S
    batch: int = c.RESCUE_BATCH

    @property
    def gap_s(self) -> float:
        """Return the longest time between two ticks that counts as uninterrupted.

        Half a lease: a worker renews before two thirds of its lease are left, so a shorter outage expires none.
        """
        return self.lease_s / 2


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
    ) -> None:
        self._database = database
        self._config = config or RescuerConfig()
        self._clock = clock
        self._writer = new_id()
        self.tally = tally or Tally()
        self._written: tuple[list[Outcome], set[UUID]] = ([], set())  # 这一轮写了什么；提交之后才算数
        self._since: float | None = None  # 不间断的一串成功从何时开始
        self._seen = clock.monotonic()  # 上一次成功
        self.period_s = min(c.RESCUER_PERIOD_S, self._config.lease_s / 8)

    @property
    def armed(self) -> bool:
        """Say whether a full lease of uninterrupted ticks has passed."""
        return self._since is not None and self._clock.monotonic() - self._since >= self._config.lease_s

    async def run_once(self) -> Mapping[str, int]:
        """Do one round; returns dead (workers), rescued (their rows), overdue (rows past the deadline) and more."""
        if self._interrupted():
            self._since = None
        try:
            counts = await self._database.unit(self._round)
        except _InterruptedError:
            self._since = None
            log.warning("数据库曾长时间无响应，暂不救援", lease_s=self._config.lease_s)
            counts = IDLE
        except BaseException:
            self._since = None
            raise
        else:
            self.tally.note(*self._written)
        self._seen = self._clock.monotonic()
        if self._since is None:
            self._since = self._seen
        return counts

    def _interrupted(self) -> bool:
        return self._clock.monotonic() - self._seen > self._config.gap_s

    async def _round(self, connection: Connection) -> Mapping[str, int]:
        self._written = ([], set())
        if not self.armed:
            await store.ping(connection)
            return IDLE
        dead = await store.mark_dead(connection)
        lost = await store.fetch_lost(connection)
        overdue = await store.fetch_overdue(connection, self._config.grace_s, self._config.batch, self._config.lease_s)
        outcomes = [_taken_back(row) for row in lost] + [_timed_out(row) for row in overdue]
        if moved := {outcome.queue for outcome in outcomes if outcome.queue is not None}:
            await task_submit.ensure_queues(connection, sorted(moved))
        settled = await task_settle.settle(connection, outcomes, self._writer) if outcomes else set()
        self._written = (outcomes, settled)
        # 语句可能正好卡在停摆里，停摆之后才看到一片过期的租约
        if self._interrupted():
            raise _InterruptedError
        for worker_id in dead:
            log.warning("工作进程失联，已判死", worker_id=str(worker_id))
        for outcome in outcomes:
            if outcome.id in settled:
                log.info(
                    "任务已救援",
                    task_id=str(outcome.id),
                    worker_id=str(outcome.worker_id),
                    claim_no=outcome.claim_no,
                    state=outcome.state.value,
                    cause=outcome.cause.value if outcome.cause else None,
                )
        return {
            "dead": len(dead),
            "rescued": sum(row.id in settled for row in lost),
            "overdue": sum(row.id in settled for row in overdue),
            "more": int(len(overdue) == self._config.batch),
        }


def _outcome(row: RunningRow, state: State, cause: Cause, kind: str, words: Words) -> Outcome:
    if row.cancelling:
        state = State.CANCELLED
    outcome = Outcome(row.id, row.claim_no, row.worker_id, state, by=By.RESCUE, cause=cause).of(
        row.kind, row.queue, row.attempt
    )
    outcome.error_type, outcome.message, outcome.message_zh = kind, words.en, words.zh
    outcome.error = error_json(kind, words.en, words.zh)
    return outcome


def _taken_back(row: RunningRow) -> Outcome:
    """工作进程没了：尝试不计。崩溃与内存耗尽算崩溃，基础设施的事不算（不变量 8）。

    可疑的任务独自运行；崩溃次数只有在它确实独自一个时才升到上限，免得误伤与毒丸同处一室的任务。
    """
    cause = row.cause or Cause.CRASH
    outcome = _outcome(row, State.AVAILABLE, cause, "WorkerLost", REASONS.get(cause, reasons.SAID(words=cause.value)))
    if row.cause is None:
        outcome.cause, outcome.error = None, None  # 它自己停下的，不是崩溃，也不留失败记录
    elif cause in INFRASTRUCTURE:
        pass
    elif row.crash_count < c.SUSPECT_FROM or row.held == 1:
        outcome.crash_delta = 1
    if outcome.state is State.AVAILABLE and row.crash_count + outcome.crash_delta >= c.CRASH_BUDGET:
        outcome.state = State.DISCARDED
    if outcome.state is State.AVAILABLE:
        outcome.attempt_delta = -1
        if cause is Cause.OOM and row.on_oom_queue != row.queue:
            outcome.queue = row.on_oom_queue
    return outcome


def _timed_out(row: RunningRow) -> Outcome:
    """工作进程活着却没能按时结束它：算一次尝试。"""
    outcome = _outcome(row, State.RETRYABLE, Cause.TIMEOUT, "TimeoutError", reasons.OVERDUE)
    if outcome.state is State.RETRYABLE and row.attempt >= row.max_attempts:
        outcome.state = State.DISCARDED
    if outcome.state is State.RETRYABLE:
        outcome.delay_s = backoff_s(RetryPolicy(), row.attempt)
    return outcome
