"""Runs a workload several times and reports medians with the machine they were measured on."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from typing import Any

from taskmill.bench import stage, workloads
from taskmill.services.platform import Platform
from taskmill.settings import Settings

Workload = Callable[[Platform, int, int], Awaitable[dict[str, float]]]


async def _submit(platform: Platform, tasks: int, _: int) -> dict[str, float]:
    return await workloads.submit(platform, tasks)


async def _single(platform: Platform, tasks: int, _: int) -> dict[str, float]:
    return await workloads.single(platform, tasks)


# 名字 → (负载, 默认任务数, 默认并发)
WORKLOADS: dict[str, tuple[Workload, int, int]] = {
    "drain": (workloads.drain, 100_000, 1_000),
    "submit": (_submit, 100_000, 10),
    "single": (_single, 20_000, 10),
    "latency": (workloads.latency, 5_000, 100),
}


async def run(
    settings: Settings, name: str, *, tasks: int | None, concurrency: int | None, runs: int, waiting: int
) -> dict[str, Any]:
    """Return the report of workload `name`: medians of `runs` runs on fresh embedded servers, or the configured ones."""
    workload, default_tasks, default_concurrency = WORKLOADS[name]
    tasks, concurrency = tasks or default_tasks, concurrency or default_concurrency
    results: list[dict[str, float]] = []
    facts: dict[str, Any] = {}
    for _ in range(runs):
        with stage.servers(settings) as (database_url, broker_url):
            async with stage.stage(database_url, broker_url, concurrency) as platform:
                facts = facts or await stage.facts(platform)
                if waiting:
                    await workloads.waiting(platform, waiting)
                results.append(await workload(platform, tasks, concurrency))
    medians = {key: round(statistics.median(result[key] for result in results), 3) for key in results[0]}
    return {
        "workload": name,
        "tasks": tasks,
        "concurrency": concurrency,
        "waiting": waiting,
        "runs": runs,
        **medians,
        "all_runs": results,
        "machine": facts,
    }
