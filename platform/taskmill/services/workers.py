"""Worker processes, alive and recently gone."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill.clock import Timestamp
from taskmill.models.worker import Worker
from taskmill.services.page import Page, Paging
from taskmill.services.view import view
from taskmill.stores.database import Database
from taskmill.stores.workers import read as worker_read
from taskmill.stores.workers import scheduler
from taskmill.stores.workers.troubles import Troubles

WorkerState = Literal["live", "draining", "lost", "stopped", "dead"]
WORKER_STATES: tuple[WorkerState, ...] = ("live", "draining", "lost", "stopped", "dead")


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation of a worker process; `lost`: its lease ran out and the rescuer has not acted yet; `stopped`: it ended in order.

    `troubles`: what keeps it from its work. In a cluster: its `pod` and `bundle`, the operator's standing `order`, and why the pod ended (`death_cause`).
    """

    id: UUID
    state: str
    hostname: str
    pid: int
    version: str
    queues: list[str]
    kinds: list[str]
    concurrency: int
    running: int
    started_at: Timestamp
    lease_until: Timestamp
    dead_at: Timestamp | None
    death: str | None
    death_cause: str | None
    pod: str | None
    bundle: str | None
    ready: bool
    order: str
    troubles: Troubles


class WorkerService:
    """What the API shows of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, paging: Paging) -> Page[WorkerView]:
        """Return one page: the living first, the newest first."""
        async with self._database.sessions.begin() as session:
            rows = await worker_read.fetch_page(session, limit=paging.page_size, offset=paging.offset)
            counts = await worker_read.count_by_state(session)
        return Page(
            items=[_view(row, state) for row, state in rows],
            page=paging.page,
            page_size=paging.page_size,
            total=sum(counts.values()),
        )

    async def counts(self) -> dict[str, int]:
        """Return how many workers are in each state, zeros included."""
        async with self._database.sessions.begin() as session:
            counts = await worker_read.count_by_state(session)
        return {state: counts.get(state, 0) for state in WORKER_STATES}

    async def schedulers(self) -> int:
        """Return how many schedulers live."""
        async with self._database.pool.acquire(timeout=c.CONNECT_TIMEOUT_S) as connection:
            return await scheduler.count_living(connection)


def _view(row: Worker, state: str) -> WorkerView:
    troubles = msgspec.convert(row.troubles, Troubles)
    return view(WorkerView, row, state=state, order=row.order_kind, troubles=troubles)
