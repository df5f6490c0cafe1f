"""What is seen of one database: one look per tick for all queues in it. What is not known is None, never zero."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import Code, TaskmillError
from taskmill.kube import constants as kc
from taskmill.kube.observe.database_access import DatabaseAccess, Opener
from taskmill.kube.state import DatabaseFact
from taskmill.log import get_logger
from taskmill.services.faults import hopeless
from taskmill.services.fleet import FleetService, Order, QueueLoad, QueuePolicy, WorkerFact

log = get_logger(__name__)


class DatabaseLink:
    """One database: opened when needed, looked at every tick, backed off from while it is away.

    `refused` is called when it answers in a way that waiting does not change, such as to a password that is no longer right.
    """

    def __init__(
        self,
        identity: str,
        seen: Callable[[DatabaseLink], float],
        *,
        tick_s: float = c.OPERATOR_TICK_S,
        clock: Clock = SYSTEM_CLOCK,
        opener: Opener = FleetService.open,
        refused: Callable[[DatabaseLink], None] = lambda _: None,
    ) -> None:
        self.identity, self._refused = identity, refused
        self._seen, self._tick_s, self._clock = seen, tick_s, clock
        self._access = DatabaseAccess(opener)
        self._failing_since: float | None = None
        self._failures = 0
        self._error = ""
        self._anchor = clock.now()
        self._policies_at = float("-inf")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.looked = asyncio.Event()  # 看过第一眼，不论成败
        self.horizon_s = c.DUE_SOON_S
        self._looked_at = clock.now()
        self.loads: dict[str, QueueLoad] | None = None
        self.workers: tuple[WorkerFact, ...] | None = None
        self.policies: dict[str, QueuePolicy] | None = None
        self.drain_since: dict[str, datetime] = {}  # Pod 的 uid → 何时第一次见到收尾的命令

    @property
    def fact(self) -> DatabaseFact:
        """Return what the plan may know of it."""
        failing = self._clock.monotonic() - self._failing_since if self._failing_since is not None else 0.0
        return DatabaseFact(self.identity, self._error, failing)

    @property
    def users(self) -> list[object]:
        """Return the keys of the objects that name it."""
        return self._access.users

    def load_of(self, queue: str) -> QueueLoad | None:
        """Return the load of a queue; zeros for one that the database does not know yet, None if it does not answer."""
        if self.loads is None:
            return None
        return self.loads.get(queue) or QueueLoad(queue, 0, 0, 0, 0.0, 0, self._looked_at)

    def use(self, user: object, url: str) -> None:
        """Note that an object reaches it by this URL."""
        if self._access.use(user, url):
            self.wake()

    def release(self, user: object) -> None:
        """Note that an object no longer needs it."""
        self._access.release(user)

    def start(self) -> None:
        """Begin to look every tick."""
        self._task = asyncio.create_task(self._run(), name=f"database-{self.identity}")

    async def close(self) -> None:
        """Stop looking and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._access.close()

    def wake(self) -> None:
        """Look now instead of at the next tick."""
        self._wake.set()

    async def service(self) -> FleetService:
        """Return the open service; UnavailableError DATABASE_UNAVAILABLE."""
        return await self._access.service()

    async def _run(self) -> None:
        full, due = True, 0.0
        while True:
            await self.look(full=full)
            now = self._clock.monotonic()
            if full:
                due = now + self._tick_s
            try:
                async with asyncio.timeout(self._pause(max(0.0, due - now))):  # wait_for 会吞掉和唤醒同时到的取消
                    await self._wake.wait()
                full = True
            except TimeoutError:
                full = bool(self._error) or self._clock.monotonic() >= due - kc.OPERATOR_TICK_SLACK_S
            self._wake.clear()

    def _pause(self, until_due: float) -> float:
        if self._error:
            return min(kc.DATABASE_RETRY_MAX_S, kc.DATABASE_RETRY_MIN_S * 2 ** min(self._failures - 1, 10))
        return min(until_due, kc.OPERATOR_DRAIN_TICK_S) if self._draining else until_due

    @property
    def _draining(self) -> bool:
        return any(worker.order is Order.DRAIN for worker in self.workers or ())

    async def look(self, *, full: bool = True) -> None:
        """Read the load of all queues and the workers, then tell whoever wants to know."""
        try:
            await self._read(full=full)
        except TaskmillError as error:
            if error.code is Code.SCHEMA_BEHIND:
                # 表还没有：库是空的或很旧，当然也没有任务和登记在 Pod 里的工作进程
                self.loads, self.workers, self.policies = {}, (), None
                self._looked_at = self._clock.now()
                self._answered()
            else:
                await self._failed(error.words.en)
                if hopeless(error):
                    self._refused(self)  # 也许换了密码：再读一次 Secret
        except (OSError, ValueError, TimeoutError) as error:
            await self._failed(str(error) or type(error).__name__)
        except Exception as error:  # 出了错也得接着看，否则这个库上的队列再也没人管；原文可能带着地址，不往外说
            log.exception("看数据库时出错", database=self.identity)
            await self._failed(type(error).__name__)
        else:
            self._answered()
        self._report()
        self.looked.set()

    def _report(self) -> None:
        try:
            self.horizon_s = self._seen(self) or self.horizon_s
        except Exception:
            log.exception("伸缩的一拍出错", database=self.identity)

    async def _read(self, *, full: bool) -> None:
        service, now = await self.service(), self._clock.now()
        self.workers = tuple(await service.workers())
        draining = {worker.pod_uid for worker in self.workers if worker.order is Order.DRAIN}
        self.drain_since = {uid: self.drain_since.get(uid, now) for uid in draining}
        if not full:
            return
        self.loads = await service.observe(since=self._since(now), horizon_s=self.horizon_s)
        self._looked_at = max((load.at for load in self.loads.values()), default=now)  # PostgreSQL 的钟优先
        if self.policies is None or self._clock.monotonic() - self._policies_at >= kc.OPERATOR_POLICY_S:
            await self.refresh_policies()

    async def refresh_policies(self) -> None:
        """Read the policies of all queues anew; UnavailableError, SetupError."""
        self.policies = await (await self.service()).queues()
        self._policies_at = self._clock.monotonic()

    def _since(self, now: datetime) -> datetime:
        """计数的起点：每小时挪一次，计数器变小由 scaler 认出来。"""
        if (now - self._anchor).total_seconds() > 2 * kc.COUNTERS_ANCHOR_S:
            self._anchor = now - timedelta(seconds=kc.COUNTERS_ANCHOR_S)
        return self._anchor

    def _answered(self) -> None:
        if self._error:
            log.info("数据库恢复", database=self.identity, failing_s=round(self.fact.failing_s, 1))
        self._error, self._failing_since, self._failures = "", None, 0

    async def _failed(self, reason: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
        self._failures += 1
        if reason != self._error:
            log.warning("数据库连不上", database=self.identity, error=reason, failures=self._failures)
        self._error = reason
        self.loads = self.workers = self.policies = None
        if self._access.may_switch:
            await self._access.close()
