"""What changed, told to everybody who watches: one look per second for all of them, none while nobody does.

PostgreSQL ──(look)──► Pulse ──► Watcher, Watcher, …   each keeps the topics that it has not told yet
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from uuid import UUID

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.log import get_logger
from taskmill.services.dashboard import constants as c
from taskmill.services.faults import translate, why
from taskmill.services.queues.backlog import BacklogService
from taskmill.stores.dashboard import pulse as store
from taskmill.stores.database import Database
from taskmill.stores.queues.backlog import Backlog

log = get_logger(
    __name__,
    {
        "界面看不到变化：数据库没有回答": "the dashboard sees no changes: the database does not answer",
        "看变化时出错": "looking for changes failed",
    },
)


class Topic(StrEnum):
    """What a page may show; AWAY: the database does not answer."""

    TASKS = "tasks"
    QUEUES = "queues"
    SCHEDULES = "schedules"
    WORKERS = "workers"
    AWAY = "away"


SHOWN = frozenset(Topic) - {Topic.AWAY}


class Watcher:
    """One event stream, of a session: the topics that changed since it was last asked."""

    def __init__(self, owner: UUID | None = None) -> None:
        self.owner = owner
        self._pending: set[Topic] = set()
        self._news = asyncio.Event()

    def tell(self, topics: frozenset[Topic]) -> None:
        """Note changes."""
        self._pending |= topics
        self._news.set()

    async def next(self, timeout_s: float) -> frozenset[Topic]:
        """Return what changed, at once or when something does; empty after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return frozenset()
        self._news.clear()
        told, self._pending = frozenset(self._pending), set()
        return told


class Pulse:
    """Looks at the database while somebody watches. `look` is one round."""

    def __init__(self, database: Database, backlog: BacklogService, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._backlog = backlog
        self._clock = clock
        self._watchers: set[Watcher] = set()
        self._seen: dict[Topic, object] = {}
        self._task: asyncio.Task[None] | None = None
        self.closed = False

    def close(self) -> None:
        """Let every watcher hear at once that there will be no more: the process stops."""
        self.closed = True
        self._tell(SHOWN)

    def watchers(self, owner: UUID | None = None) -> int:
        """Return how many watch, all or those of one session."""
        return sum(owner in {None, each.owner} for each in self._watchers)

    @contextmanager
    def watching(self, owner: UUID | None = None) -> Iterator[Watcher]:
        """Watch until the end of the block."""
        watcher = Watcher(owner)
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="pulse")
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._task.cancel()
                self._task, self._seen = None, {}

    async def look(self) -> frozenset[Topic]:
        """Return and tell what changed since the last look; the first one finds nothing. A server that came back changed everything."""
        try:
            found = await self._facts()
        except Exception as error:
            if (known := translate(error)) is None:
                raise
            if Topic.AWAY in self._seen:
                return frozenset()
            log.warning("界面看不到变化：数据库没有回答", error=why(known))
            self._seen = {Topic.AWAY: True}
            return self._tell(frozenset({Topic.AWAY}))
        seen, self._seen = self._seen, found
        if Topic.AWAY in seen:
            return self._tell(SHOWN)
        return self._tell(frozenset(topic for topic, value in found.items() if seen and seen[topic] != value))

    async def _facts(self) -> dict[Topic, object]:
        counts = await self._backlog.renewed()
        facts = await store.facts(self._database.pool)
        live = {name: _shown(found) for name, found in counts.items()}
        return {
            Topic.TASKS: (live, facts["newest"], facts["finished"]),
            Topic.QUEUES: facts["queues"],
            Topic.SCHEDULES: facts["schedules"],
            Topic.WORKERS: facts["workers"],
        }

    def _tell(self, topics: frozenset[Topic]) -> frozenset[Topic]:
        if topics:
            for watcher in self._watchers:
                watcher.tell(topics)
        return topics

    async def _run(self) -> None:
        while True:
            began = self._clock.monotonic()
            try:
                await self.look()
            except Exception as error:
                # 一次看不懂，不能让所有页面从此不再更新
                log.exception("看变化时出错", exc_info=error)
            took = self._clock.monotonic() - began
            await asyncio.sleep(max(c.PULSE_S, took * c.PULSE_COST_RATIO))


def _shown(found: Backlog) -> tuple[int, ...]:
    """等了多久、快到期的，时时在变，不算变化。"""
    return found.scheduled, found.available, found.running, found.held, found.retryable, found.blocked
