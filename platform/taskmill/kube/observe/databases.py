"""The databases behind the TaskQueues: one connection and one look per tick for all queues that share one.

A database is known by host, port and name. Objects may reach it with different users; the URL in use stays until no
object names it any more or it stops working, then another is tried. What is not known is None, never zero.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import Code, SetupError, TaskmillError
from taskmill.kube import phrases
from taskmill.kube.state import DatabaseFact
from taskmill.log import get_logger
from taskmill.services.fleet import FleetService, Order, QueueLoad, QueuePolicy, WorkerFact

log = get_logger(__name__)
Key = tuple[str, str]  # (命名空间, TaskQueue)


def identity_of(database_url: str) -> str:
    """Return a hash of host, port and name of a database; the user and the options do not matter.

    ValueError without any part of the URL: it ends in a condition that many may read.
    """
    try:
        parts = urlsplit(database_url)
        name, host, port = parts.path.strip("/"), parts.hostname, parts.port or 5432
    except ValueError:  # 它的文字里有密码的片段
        message = "not a URL; percent-encode special characters of the password"
        raise ValueError(message) from None
    if not parts.scheme.startswith("postgres") or not host or not name:
        message = "not a PostgreSQL URL"
        raise ValueError(message)
    return hashlib.sha256(f"{host.lower()}:{port}/{name}".encode()).hexdigest()[:16]


class DatabaseLink:
    """One database: opened when needed, looked at every tick, backed off from while it is away."""

    def __init__(
        self,
        identity: str,
        seen: Callable[[DatabaseLink], float],
        *,
        tick_s: float = c.OPERATOR_TICK_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.identity = identity
        self._seen, self._tick_s, self._clock = seen, tick_s, clock
        self._urls: dict[object, str] = {}
        self._url = ""
        self._service: FleetService | None = None
        self._failing_since: float | None = None
        self._failures = 0
        self._error = ""
        self._anchor = clock.now()
        self._policies_at = float("-inf")
        self._wake = asyncio.Event()
        self._gate = asyncio.Lock()
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
        return list(self._urls)

    def load_of(self, queue: str) -> QueueLoad | None:
        """Return the load of a queue; zeros for one that the database does not know yet, None if it does not answer."""
        if self.loads is None:
            return None
        return self.loads.get(queue) or QueueLoad(queue, 0, 0, 0, 0.0, 0, 0.0, self._looked_at)

    def use(self, user: object, url: str) -> None:
        """Note that an object reaches it by this URL."""
        if self._urls.get(user) == url:
            return
        self._urls[user] = url
        self.wake()

    def release(self, user: object) -> None:
        """Note that an object no longer needs it."""
        self._urls.pop(user, None)

    def start(self) -> None:
        """Begin to look every tick."""
        self._task = asyncio.create_task(self._run(), name=f"database-{self.identity}")

    async def close(self) -> None:
        """Stop looking and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()

    def wake(self) -> None:
        """Look now instead of at the next tick."""
        self._wake.set()

    async def service(self) -> FleetService:
        """Return the open service; UnavailableError DATABASE_UNAVAILABLE."""
        async with self._gate:
            known = list(dict.fromkeys(self._urls.values()))
            if self._service is not None and self._url in known:
                return self._service
            await self._disconnect()
            if not known:
                raise SetupError(Code.CONFIG_INVALID, field="connection", reason=phrases.NO_URL)
            # 换下一个：上一个刚失败，或已没有对象用它
            self._url = known[(known.index(self._url) + 1) % len(known)] if self._url in known else known[0]
            self._service = await FleetService.open(self._url)
            return self._service

    async def _disconnect(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            await service.close()

    async def _run(self) -> None:
        full, due = True, 0.0
        while True:
            await self.look(full=full)
            now = self._clock.monotonic()
            if full:
                due = now + self._tick_s
            try:
                await asyncio.wait_for(self._wake.wait(), self._pause(max(0.0, due - now)))
                full = True
            except TimeoutError:
                full = bool(self._error) or self._clock.monotonic() >= due - c.OPERATOR_TICK_SLACK_S
            self._wake.clear()

    def _pause(self, until_due: float) -> float:
        if self._error:
            return min(c.DATABASE_RETRY_MAX_S, c.DATABASE_RETRY_MIN_S * 2 ** min(self._failures - 1, 10))
        return min(until_due, c.OPERATOR_DRAIN_TICK_S) if self._draining else until_due

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
        except (OSError, ValueError, TimeoutError) as error:
            await self._failed(str(error) or type(error).__name__)
        except Exception as error:  # 出了错也得接着看，否则这个库上的队列再也没人管；原文可能带着地址，不往外说
            log.exception("看数据库时出错", database=self.identity)
            await self._failed(type(error).__name__)
        else:
            self._answered()
        self._tell()
        self.looked.set()

    def _tell(self) -> None:
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
        if self.policies is None or self._clock.monotonic() - self._policies_at >= c.OPERATOR_POLICY_S:
            await self.refresh_policies()

    async def refresh_policies(self) -> None:
        """Read the policies of all queues anew; UnavailableError, SetupError."""
        self.policies = await (await self.service()).queues()
        self._policies_at = self._clock.monotonic()

    def _since(self, now: datetime) -> datetime:
        """计数的起点：每小时挪一次，计数器变小由 scaler 认出来。"""
        if (now - self._anchor).total_seconds() > 2 * c.COUNTERS_ANCHOR_S:
            self._anchor = now - timedelta(seconds=c.COUNTERS_ANCHOR_S)
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
        if len(set(self._urls.values())) > 1 or self._service is None:
            await self._disconnect()


class Databases:
    """All databases in use, by identity."""

    def __init__(
        self, seen: Callable[[DatabaseLink], float], *, tick_s: float = c.OPERATOR_TICK_S, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._seen, self._tick_s, self._clock = seen, tick_s, clock
        self.links: dict[str, DatabaseLink] = {}
        self._of: dict[object, str] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def use(self, user: object, url: str) -> DatabaseLink:
        """Return the database of an object, by its URL; ValueError if it is not one."""
        identity = identity_of(url)
        if self._of.get(user, identity) != identity:
            self.release(user)
        link = self.links.get(identity)
        if link is None:
            link = self.links[identity] = DatabaseLink(identity, self._seen, tick_s=self._tick_s, clock=self._clock)
            link.use(user, url)
            link.start()
        link.use(user, url)
        self._of[user] = identity
        return link

    def of(self, user: object) -> DatabaseLink | None:
        """Return the database that an object was last seen to use."""
        return self.links.get(self._of.get(user, ""))

    async def looked(self) -> None:
        """Wait for the first look at every database in use, a bounded time: one that hangs holds up nobody for long."""
        waiting = (link.looked.wait() for link in self.links.values())
        try:
            await asyncio.wait_for(asyncio.gather(*waiting), c.OPERATOR_FIRST_LOOK_S)
        except TimeoutError:
            log.warning("有数据库迟迟没有答复，先开始对账")

    def users(self, identity: str) -> list[object]:
        """Return the objects that use a database."""
        link = self.links.get(identity)
        return link.users if link is not None else []

    def release(self, user: object) -> None:
        """Forget an object; its database is closed when nobody uses it any more."""
        link = self.links.get(self._of.pop(user, ""))
        if link is None:
            return
        link.release(user)
        if not link.users:
            del self.links[link.identity]
            closing = asyncio.create_task(link.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all."""
        links, self.links = list(self.links.values()), {}
        await asyncio.gather(*self._closing, *(link.close() for link in links))
