"""Reads the facts from PostgreSQL, Valkey and the roles once everything is calm."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any
from uuid import UUID

import httpx2

from taskmill.engine.constants import AUDIT_CONSUMERS_S, PENDING_IDLE_MS
from tests.chaos.driver import journal
from tests.chaos.driver.facts import Facts, Stream
from tests.chaos.driver.stage import AWAY, POOLS, USER, Stage

CALM_S = 150.0
STILL_S = 60.0  # 这么久没有任何任务了结，就不会再有了
POLL_S = 0.5
TIDY_S = PENDING_IDLE_MS / 1000 + AUDIT_CONSUMERS_S + 5.0  # 没有工作进程服务的队列，审计隔半分钟才看
GAUGE = re.compile(r"^taskmill_worker_(running|unsettled) (\S+)$", flags=re.MULTILINE)
LEFT = "select count(*) from taskmill.tasks where not (state = 'scheduled' and run_at > now() + interval '1 hour')"
FINAL = "select coalesce(sum(n), 0) from taskmill.rollups"
COLUMNS = "id, queue, kind, state, attempt, claim_no, crash_count, timeout_ms, worker_id, unique_key, concurrency_key, sequence_key, sequence_no, sequence_stop"


async def calm(stage: Stage) -> float | None:
    """Wait until no task has anything left to do; returns the seconds, or None if that does not come."""
    since = moved = time.monotonic()
    before: object = None
    while time.monotonic() - since < CALM_S and time.monotonic() - moved < STILL_S:
        try:
            if (await stage.rows(LEFT))[0][0] == 0:
                return round(time.monotonic() - since, 1)
            now = (await stage.rows(FINAL))[0][0]
        except AWAY:
            now = before
        if now != before:
            before, moved = now, time.monotonic()
        await asyncio.sleep(POLL_S)
    return None


async def gather(stage: Stage, facts: Facts) -> None:
    """Fill in what the servers, the roles and the journals know."""
    await _tables(stage, facts)
    await _streams(stage, facts)
    facts.gauges = {role.name: await _gauges(stage.urls[role.name]) for role in stage.of("worker")}
    facts.lines = journal.read(stage.folder / "journal")
    facts.lives = [life for role in stage.roles.values() for life in role.lives]


async def _tables(stage: Stage, facts: Facts) -> None:
    facts.shift = time.monotonic() - (await stage.rows("select extract(epoch from clock_timestamp())::float8"))[0][0]
    facts.tasks = await _dicts(
        stage, f"select {COLUMNS}, extract(epoch from run_at - now())::float8 as due_in_s from taskmill.tasks"
    )
    facts.history = await _dicts(
        stage,
        f"select {COLUMNS}, error::text, extract(epoch from finished_at)::float8 as finished_at from taskmill.task_history",
    )
    facts.attempts = await _dicts(
        stage, "select task_id, claim_no, attempt, cause, error_type, left(message, 300) as message, worker_id,"
        " extract(epoch from finished_at)::float8 as finished_at from taskmill.task_attempts",
    )  # fmt: skip
    facts.workers = await _dicts(
        stage, "select id, pid, death, extract(epoch from dead_at)::float8 as dead_at from taskmill.workers"
    )
    facts.rollups = await _dicts(
        stage, "select queue, kind, outcome, sum(n)::int8 as n from taskmill.rollups group by 1, 2, 3"
    )
    facts.connections = (await stage.rows("select count(*) from pg_stat_activity where usename = $1", USER))[0][0]
    facts.connections_most = POOLS * len(stage.roles)


async def _dicts(stage: Stage, query: str) -> list[dict[str, Any]]:
    return [{key: _plain(value) for key, value in row.items()} for row in await stage.rows(query)]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


async def _streams(stage: Stage, facts: Facts) -> None:
    """没有确认的票据，审计要等它放满十秒才清：等到都清了，或过了时限。"""
    until = time.monotonic() + TIDY_S
    async with stage.valkey_client() as client:
        while True:
            facts.streams = [
                Stream(key.decode(), await client.xlen(key), _pending(await client.xinfo_groups(key)))
                async for key in client.scan_iter(match="taskmill:*:tickets:*", count=1000)
            ]
            if not any(stream.pending for stream in facts.streams) or time.monotonic() > until:
                return
            await asyncio.sleep(POLL_S)


def _pending(groups: list[dict[str, Any]]) -> int | None:
    return sum(group["pending"] for group in groups) if groups else None


async def _gauges(url: str) -> dict[str, float]:
    try:
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=5) as http:
            text = (await http.get("/metrics")).text
    except httpx2.TransportError:
        return {"silent": 1.0}
    return {name: float(value) for name, value in GAUGE.findall(text)}


def dump(facts: Facts) -> str:
    """Return the rows as JSON, to be kept beside the logs."""
    kept = {name: getattr(facts, name) for name in ("tasks", "history", "attempts", "workers", "rollups")}
    return json.dumps(kept, default=str, ensure_ascii=False)
