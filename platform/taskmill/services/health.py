"""Is this process able to serve? Each dependency by name, with its latency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import Code, SetupError, TaskmillError, UnavailableError
from taskmill.plugin.host import PluginHost
from taskmill.services import constants as c
from taskmill.services.faults import translate
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.database import Database, ping, ping_orm
from taskmill.stores.schema import standing
from taskmill.stores.schema.chain import CORE
from taskmill.stores.workers import scheduler


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One dependency; `code` says what is wrong, `latency_ms` how long the answer took; `detail` is English, `detail_zh` Chinese."""

    ok: bool
    latency_ms: float
    code: str | None = None
    detail: str = ""
    detail_zh: str = ""


class MigrationState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the schema stands; `current` null: never migrated, or the database is away.

    `ok` with another revision than `head`: contract migrations are still to come, or a newer schema that we can read.
    """

    ok: bool
    current: str | None
    head: str
    code: str | None = None


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """`ready` needs PostgreSQL and the right schema. Without Valkey tasks are still accepted, so it only degrades.

    `schedulers` that live, in the whole system; 0: nothing that is due is let go. Null: the database does not say.
    """

    ready: bool
    degraded: bool
    dependencies: dict[str, Dependency]
    migrations: MigrationState
    plugins: dict[str, bool]
    schedulers: int | None


class HealthService:
    """Checks on demand, each within its own time limit, all at once."""

    def __init__(self, database: Database, tickets: Tickets, host: PluginHost, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._tickets = tickets
        self._host = host
        self._clock = clock
        self._schema_good_until = float("-inf")
        self._head = CORE.head()
        self._good = MigrationState(ok=True, current=self._head, head=self._head)

    @property
    def refused_s(self) -> float:
        """Return for how long PostgreSQL has refused the login, in seconds."""
        return self._database.login.refused_s

    async def readiness(self) -> tuple[Readiness, TaskmillError | None]:
        """Return the report, and the error that makes the process unready (None: it is ready)."""
        (database, away), (broker, broker_away), plugins, schedulers = await asyncio.gather(
            self._timed(self._ping_database), self._timed(self._tickets.ping), self._host.health(), self._schedulers()
        )
        state, wrong = await self._migrations() if away is None else (self._unknown(), away)
        wanting = self._host.wanting()  # 少一个插件的路由，不值得停掉整个接口
        report = Readiness(
            ready=wrong is None,
            degraded=broker_away is not None or bool(wanting) or not all(health.ok for health in plugins.values()),
            dependencies={"postgresql": database, "valkey": broker},
            migrations=state,
            plugins=dict.fromkeys(wanting, False) | {name: health.ok for name, health in plugins.items()},
            schedulers=schedulers,
        )
        return report, wrong

    async def _ping_database(self) -> None:
        """走请求所走的两个连接池：列表用 ORM 的，收任务与看密钥用热的，哪个不通都答不了请求。"""
        for error in await asyncio.gather(self._ping_hot(), self._ping_orm(), return_exceptions=True):
            if error is not None:
                raise error  # 先等两个都答完：留一个在半路连着，没有人再管它

    async def _ping_hot(self) -> None:
        async with self._database.pool.acquire() as connection:
            await ping(connection)

    async def _ping_orm(self) -> None:
        async with self._database.sessions() as session:
            await ping_orm(session)

    async def _schedulers(self) -> int | None:
        """有几个活着。问不出来不影响就绪：数据库不通、表还没建，别的几项会说。"""
        try:
            async with asyncio.timeout(c.READY_TIMEOUT_S), self._database.pool.acquire() as connection:
                return await scheduler.count_living(connection)
        except Exception as error:
            if translate(error) is None:
                raise
            return None

    async def _timed(self, check: Callable[[], Awaitable[None]]) -> tuple[Dependency, TaskmillError | None]:
        started = self._clock.monotonic()
        error: TaskmillError | None = None
        try:
            async with asyncio.timeout(c.READY_TIMEOUT_S):
                await check()
        except TaskmillError as raised:
            error = raised
        except Exception as raised:
            error = translate(raised)
            if error is None:
                raise
        latency = round((self._clock.monotonic() - started) * 1000, 3)
        if error is None:
            return Dependency(ok=True, latency_ms=latency), None
        told = error.message()
        return Dependency(ok=False, latency_ms=latency, code=error.code, detail=told["en"], detail_zh=told["zh"]), error

    async def _migrations(self) -> tuple[MigrationState, TaskmillError | None]:
        if self._clock.monotonic() < self._schema_good_until:
            return self._good, None
        good = MigrationState(ok=True, current=self._head, head=self._head)
        try:
            async with asyncio.timeout(c.READY_TIMEOUT_S), self._database.pool.acquire() as connection:
                current = await standing.current(connection)
            if current == self._head:
                self._schema_good_until = self._clock.monotonic() + c.SCHEMA_CHECK_S
                self._good = good
                return good, None
            async with asyncio.timeout(c.READY_TIMEOUT_S):
                found = await standing.verify(self._database.url)
            self._schema_good_until = self._clock.monotonic() + c.SCHEMA_CHECK_S
            good = MigrationState(ok=True, current=found.current, head=self._head)
            self._good = good
        except (SetupError, UnavailableError) as error:
            found = error.details.get("found") if error.code is not Code.DATABASE_UNAVAILABLE else None
            return MigrationState(ok=False, current=found, head=self._head, code=error.code), error
        except Exception as raised:
            error = translate(raised)
            if error is None:
                raise
            return self._unknown(), error
        return good, None

    def _unknown(self) -> MigrationState:
        return MigrationState(ok=False, current=None, head=self._head, code=Code.DATABASE_UNAVAILABLE)
