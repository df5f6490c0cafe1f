# ruff: noqa: INP001  单个脚本，不是包
"""Taskmill itself, with the workloads of `taskmill bench`, in the environment of the project."""

from __future__ import annotations

import functools
import itertools

import contract
import uvloop

from taskmill import task
from taskmill.bench import stage, workloads
from taskmill.log import configure_logging
from taskmill.services.tasks.submit_request import SubmitRequest

ABOUT = {
    "system": "Taskmill",
    "store": "postgresql",
    "durable": "PostgreSQL; Valkey holds tickets only",
    "tuned": "as `taskmill bench`: submitter, stager and worker in one process",
}
LIVE = "select count(*) from taskmill.tasks where queue = $1"
numbers = itertools.count()


@functools.cache
def tally() -> contract.Tally:
    """Return the tally of this process."""
    return contract.Tally()


@task("bench.noop", queue=stage.QUEUE)
async def noop(to: str, n: int, subject: str) -> int:  # noqa: ARG001 - 与 taskmill bench 的参数相同
    """Mark the tally and do nothing else."""
    tally().mark(n)
    return 1


def request() -> SubmitRequest:
    """Return the next request, with its number."""
    return SubmitRequest(kind="bench.noop", args={**stage.ARGS, "n": next(numbers)})


def measured(name: str, n: int, concurrency: int) -> tuple[float, int]:
    """Run a workload of `taskmill bench` with numbered tasks."""
    stage.noop, workloads.request = noop, request
    configure_logging(level="WARNING")
    return uvloop.run(_measured(name, n, concurrency))


async def _measured(name: str, n: int, concurrency: int) -> tuple[float, int]:
    async with stage.stage(contract.database_url(), contract.broker_url(), concurrency) as platform:
        warm_up = await platform.database.pool.fetchval(LIVE, stage.QUEUE)  # 布景时提交的那一个；drain 也会跑它
        if name == "drain":
            figures = await workloads.drain(platform, n, concurrency)
            warm_up = 0
        else:
            figures = await (workloads.single if name == "single" else workloads.submit)(platform, n)
        held = await platform.database.pool.fetchval(LIVE, stage.QUEUE)
    return n / figures["tasks_per_second"], held - warm_up


if __name__ == "__main__":
    MEASURES = {name: functools.partial(measured, name) for name in ("single", "batch", "drain")}
    contract.answer(ABOUT, ["taskmill"], MEASURES)
