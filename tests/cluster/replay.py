"""Replay a trace of short and long tasks against a TaskQueue, and say what became of each task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import Settings
from tests.cluster import naps
from tests.support.waiting import eventually

BATCH = 200
# 每个任务一行，无论还在不在跑；首次开始的时刻只在 claim_no = 1 时可信
TASKS = """
select id, state, claim_no, extract(epoch from run_at)::float8 as due_at, extract(epoch from started_at - run_at)::float8 as wait_s
  from taskmill.tasks where id = any($1)
union all
select id, state, claim_no, extract(epoch from run_at)::float8, extract(epoch from started_at - run_at)::float8
  from taskmill.task_history where id = any($1)
"""
ATTEMPTS = "select cause, count(*) as n from taskmill.task_attempts where task_id = any($1) group by cause"


@dataclass(frozen=True, slots=True)
class Step:
    """At `at_s`, `count` tasks of `ms`, all at once or spread over `over_s` seconds."""

    at_s: float
    count: int
    ms: int
    over_s: float = 0.0

    def moments(self) -> list[float]:
        """Return when each of them is submitted."""
        return [self.at_s + self.over_s * number / self.count for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class Start:
    """When a task was due, in seconds of time.time(), and how long it waited from then until it started."""

    due_at: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`lost`: not completed. `again`: claimed more than once. `causes`: attempts that did not complete."""

    tasks: int
    lost: int
    again: int
    causes: dict[str, int]
    starts: list[Start]

    @property
    def first_began(self) -> float:
        """Return when the first of them started."""
        return min((start.due_at + start.wait_s for start in self.starts), default=0.0)

    def within(self, seconds: float, *, since: float = 0.0) -> float:
        """Return the share of those due from `since` on that started in time; what never started is late."""
        waits = [start.wait_s for start in self.starts if start.due_at >= since]
        known = len(waits) + self.tasks - len(self.starts)
        return sum(wait <= seconds for wait in waits) / known if known else 1.0

    def quantile(self, share: float) -> float:
        """Return a quantile of the waits."""
        waits = sorted(start.wait_s for start in self.starts)
        return waits[min(len(waits) - 1, int(share * len(waits)))]


@asynccontextmanager
async def opened(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """A platform that submits naps, as an API replica would."""
    settings = Settings.model_validate({"database_url": database_url, "broker_url": broker_url})
    platform = await Platform.open(settings, naps.host(settings))
    try:
        yield platform
    finally:
        await platform.close()


async def submit(platform: Platform, queue: str, milliseconds: Sequence[int]) -> list[UUID]:
    """Submit naps of these lengths."""
    requests = [SubmitRequest(kind=naps.KIND, queue=queue, args={"ms": ms}) for ms in milliseconds]
    batches = [requests[first : first + BATCH] for first in range(0, len(requests), BATCH)]
    return [task.id for batch in batches for task in await platform.submit.submit_many(batch)]


async def replay(platform: Platform, queue: str, steps: Sequence[Step]) -> list[UUID]:
    """Submit every task at its moment; what is due at once goes in one batch."""
    plan: dict[float, list[int]] = {}
    for step in steps:
        for moment in step.moments():
            plan.setdefault(round(moment, 2), []).append(step.ms)
    begin, ids = time.monotonic(), list[UUID]()
    for moment in sorted(plan):
        await asyncio.sleep(max(0.0, begin + moment - time.monotonic()))
        ids += await submit(platform, queue, plan[moment])
    return ids


async def all_ended(database_url: str, ids: Sequence[UUID], *, timeout: float) -> None:
    """Wait until none of them is live."""
    connection = await asyncpg.connect(database_url)
    try:

        async def ended() -> bool:
            return not await connection.fetchval("select count(*) from taskmill.tasks where id = any($1)", ids)

        await eventually(ended, timeout=timeout, poll=0.2, why="all tasks have ended")
    finally:
        await connection.close()


async def outcome(database_url: str, ids: Sequence[UUID]) -> Outcome:
    """Return what became of tasks."""
    connection = await asyncpg.connect(database_url)
    try:
        rows: list[Any] = await connection.fetch(TASKS, ids)
        causes = {row["cause"]: row["n"] for row in await connection.fetch(ATTEMPTS, ids)}
    finally:
        await connection.close()
    completed = {row["id"] for row in rows if row["state"] == "completed"}
    return Outcome(
        tasks=len(ids), lost=len(set(ids) - completed), again=sum(row["claim_no"] > 1 for row in rows), causes=causes,
        starts=[Start(row["due_at"], row["wait_s"]) for row in rows if row["wait_s"] is not None],
    )  # fmt: skip
