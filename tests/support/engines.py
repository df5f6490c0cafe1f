"""A worker and a stager in this process, on the test's own servers, with kinds made by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.periodic.stager import Stager
from taskmill.engine.worker import WorkerRole
from taskmill.plugin.executors import register_builtin
from taskmill.plugin.host import PluginHost
from taskmill.plugin.registry import Registry
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.database import Record
from taskmill.stores.tasks import partitions
from tests.support.platforms import opened
from tests.support.waiting import TIMEOUT_S, eventually

STAGER_PERIOD_S = 0.05


def registry_of(*definitions: Any, abandoned_max: int = c.THREADS_ABANDONED_MAX) -> Registry:
    """Return a registry in which the plugin `tests` has registered `definitions`."""
    made = Registry()
    register_builtin(made, abandoned_max)
    made.bound("tests", "1")
    made.add(*definitions)
    return made


@asynccontextmanager
async def platform_of(
    database_url: str, broker_url: str, *definitions: Any, middlewares: Sequence[Any] = (), **settings: Any
) -> AsyncIterator[Platform]:
    """Open a platform with these kinds, partitions for today, and the streams of its queues made."""
    plugins = registry_of(*definitions, abandoned_max=settings.get("threads_abandoned_max", c.THREADS_ABANDONED_MAX))
    async with opened(database_url, broker_url, plugins=plugins, **settings) as platform:
        platform.host = host_of(platform.host.registry, middlewares)
        async with platform.database.transaction() as connection:
            await partitions.ensure_partitions(connection, 1)
            await connection.execute(
                "insert into taskmill.queues (name) select unnest($1::text[]) on conflict do nothing",
                platform.host.registry.queues(),
            )
        await stage(platform)
        yield platform


class Host(PluginHost):
    """A host whose plugins bring middlewares; how plugins are loaded has tests of its own."""

    brought: Sequence[Any] = ()
    broken: list[tuple[object, Exception]]

    def middlewares(self) -> list[Any]:
        return list(self.brought)

    def fail_middleware(self, middleware: object, error: Exception) -> None:
        self.broken.append((middleware, error))


def host_of(registry: Registry, middlewares: Sequence[Any]) -> PluginHost:
    """Return a host with these kinds and middlewares."""
    host = Host(registry=registry)
    host.brought, host.broken = middlewares, []
    return host


async def stage(platform: Platform) -> dict[str, int]:
    """Run one round of a stager of its own."""
    return dict(await Stager(platform.database, platform.tickets).run_once())


async def submit(platform: Platform, kind: str, args: Any = None, **options: Any) -> UUID:
    """Submit one task and return its id."""
    return (await platform.submit.submit(SubmitRequest(kind=kind, args={} if args is None else args, **options))).id


async def live(platform: Platform, task_id: UUID) -> Record | None:
    """Return the row of a live task."""
    return await platform.database.pool.fetchrow("select * from taskmill.tasks where id = $1", task_id)


async def history(platform: Platform, task_id: UUID) -> Record | None:
    """Return the row of a final task."""
    return await platform.database.pool.fetchrow("select * from taskmill.task_history where id = $1", task_id)


async def final(platform: Platform, task_id: UUID, timeout: float = TIMEOUT_S) -> Record:
    """Wait until the task is final and return its row."""
    row = await eventually(lambda: history(platform, task_id), timeout=timeout, why=f"{task_id} final")
    assert row is not None
    return row


async def in_state(platform: Platform, task_id: UUID, state: str, timeout: float = TIMEOUT_S) -> Record:
    """Wait until the live task is in `state` and return its row."""

    async def look() -> Record | None:
        row = await live(platform, task_id)
        return row if row is not None and row["state"] == state else None

    row = await eventually(look, timeout=timeout, why=f"{task_id} {state}")
    assert row is not None
    return row


async def attempts(platform: Platform, task_id: UUID) -> list[Record]:
    """Return the recorded attempts, the oldest first."""
    return await platform.database.pool.fetch(
        "select * from taskmill.task_attempts where task_id = $1 order by claim_no", task_id
    )


def decoded(raw: bytes | None) -> Any:
    """Return a jsonb value of the hot pool."""
    return None if raw is None else msgspec.json.decode(raw)


async def consistent(platform: Platform) -> None:
    """Invariants 9 and 11: the rollups add up to history, and no id is live and final at once."""
    counted = await platform.database.pool.fetch(
        """
        select coalesce(h.queue, r.queue) as queue, coalesce(h.kind, r.kind) as kind, h.n as rows, r.n as counted
        from (select queue, kind, count(*) as n from taskmill.task_history group by 1, 2) h
        full join (select queue, kind, sum(case when outcome in ('reopened', 'pruned', 'unretained') then -n else n end) as n
                   from taskmill.rollups group by 1, 2) r using (queue, kind)
        """
    )
    assert [row for row in counted if row["rows"] != row["counted"]] == []
    both = "select count(*) from taskmill.tasks t join taskmill.task_history h on h.id = t.id"
    assert await platform.database.pool.fetchval(both) == 0


async def finished(platform: Platform, count: int, timeout: float = TIMEOUT_S) -> None:
    """Wait until so many tasks are final."""

    async def done() -> bool:
        return await platform.database.pool.fetchval("select count(*) from taskmill.task_history") == count

    await eventually(done, timeout=timeout, why=f"{count} final")


@dataclass
class Engine:
    """A running worker. `halt` sets the stop event and waits for the drain."""

    platform: Platform
    worker: WorkerRole
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    now: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[int] | None = None

    async def start(self) -> Engine:
        """Start the worker and wait until it reads."""
        self.task = asyncio.create_task(self.worker.run(self.stop, self.now))
        await asyncio.wait_for(self.worker.ready.wait(), TIMEOUT_S)
        return self

    async def halt(self) -> int:
        """Drain; returns how many attempts were handed back."""
        assert self.task is not None
        self.stop.set()
        return await self.task


@asynccontextmanager
async def worker_on(platform: Platform, *, concurrency: int = 10, queues: Sequence[str] = ()) -> AsyncIterator[Engine]:
    """A worker that is cut off at the end without grace."""
    engine = await Engine(platform, WorkerRole(platform, queues, concurrency)).start()
    try:
        yield engine
    finally:
        engine.now.set()
        await engine.halt()


@asynccontextmanager
async def staged(platform: Platform) -> AsyncIterator[None]:
    """A stager that loops."""
    looper = Looper(Stager(platform.database, platform.tickets))
    looper.loop.period_s = STAGER_PERIOD_S
    looper.start()
    try:
        yield
    finally:
        await looper.stop()


@asynccontextmanager
async def running(
    database_url: str,
    broker_url: str,
    *definitions: Any,
    concurrency: int = 10,
    middlewares: Sequence[Any] = (),
    **settings: Any,
) -> AsyncIterator[Platform]:
    """A platform with a worker and a stager at work."""
    async with (
        platform_of(database_url, broker_url, *definitions, middlewares=middlewares, **settings) as platform,
        staged(platform),
        worker_on(platform, concurrency=concurrency),
    ):
        yield platform
