"""Everything one process needs, opened and closed together: settings, servers, plugins, services."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.plugin.host import PluginHost
from taskmill.services import constants as c
from taskmill.services import kinds
from taskmill.services.health import HealthService
from taskmill.services.keys import KeyService
from taskmill.services.queues.backlog import BacklogService
from taskmill.services.queues.limits import LimitCache, Promoter
from taskmill.services.queues.service import QueueService
from taskmill.services.tasks.failing import FailureCounts
from taskmill.services.tasks.releasing import Releaser
from taskmill.services.tasks.service import TaskService
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.workers import WorkerService
from taskmill.settings import Settings
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.broker.url import check_broker
from taskmill.stores.database import Database
from taskmill.stores.slow import SlowLog


@dataclass
class Platform:
    """The container of one process. Services take what they need from it; nothing else holds connections.

    Here are the services that remember something, or that several others use; one that only a resource of the API needs
    is made by its handler.
    """

    settings: Settings
    database: Database
    tickets: Tickets
    host: PluginHost
    clock: Clock

    def __post_init__(self) -> None:
        self.limits = LimitCache(self.database, self.clock)
        self.promoter = Promoter(self.database, self.tickets, window=self.settings.fairness_window)
        self.releaser = Releaser(self.database, self.promoter)
        self.failures = FailureCounts(self.database)
        self.submit = SubmitService(
            self.settings, self.database, self.tickets, self.clock, self.limits, self.promoter, self.releaser
        )
        self.backlog = BacklogService(self.database, self.clock)
        self.tasks = TaskService(self.database, self.tickets, self.promoter, self.releaser)
        self.queues = QueueService(self.database, self.tickets, self.backlog, self.submit, self.promoter, self.limits)
        self.workers = WorkerService(self.database)
        self.keys = KeyService(self.database, self.clock)
        self.health = HealthService(self.database, self.tickets, self.host, self.clock)

    @classmethod
    async def open(cls, settings: Settings, host: PluginHost, *, clock: Clock = SYSTEM_CLOCK) -> Platform:
        """Connect to PostgreSQL and publish the plugins' kinds; Valkey may still be away.

        Raises SetupError CONFIG_INVALID, UnavailableError DATABASE_UNAVAILABLE.
        """
        database_url, broker_url = settings.require_urls()
        check_broker(broker_url)
        database = Database(
            database_url,
            pool_size=settings.pool_size,
            orm_pool_size=settings.orm_pool_size,
            command_timeout_s=settings.database_timeout_s,
            slow=SlowLog(settings.slow_query_s) if settings.slow_query_s else None,
        )
        tickets = Tickets(broker_url, window=settings.stream_window)
        await database.open()
        gc.set_threshold(*c.GC_THRESHOLDS)
        platform = cls(settings, database, tickets, host, clock)
        try:
            await kinds.publish(database, host.registry)
        except BaseException:
            await platform.close()
            raise
        return platform

    async def close(self) -> None:
        """Finish what is under way and close every connection, within SHUTDOWN_GRACE_S + CLOSE_TIMEOUT_S whatever hangs."""
        await asyncio.gather(self.submit.close(), self.failures.close(), self.backlog.close())
        await asyncio.gather(self.tickets.close(), self.database.close())
