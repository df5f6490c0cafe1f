# /// script
# dependencies = ["taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0", "uvloop==0.23.0"]
# ///
"""taskiq with the stream broker of taskiq-redis, the one that acknowledges."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import contract
import redis
import uvloop
from taskiq import TaskiqEvents
from taskiq_redis import RedisStreamBroker

PROCESSES = 2
STREAM = "taskiq"
ABOUT = {
    "system": "taskiq-redis",
    "store": "redis",
    "durable": "stream in Valkey, acknowledged after the task",
    "tuned": "2 processes of the taskiq worker with uvloop, which share the concurrency; no result backend; prefetch as the concurrency",
    "share": 0.4,
}
# 默认从 $ 开始读：组建立之前提交的任务就没有人跑
broker = RedisStreamBroker(os.environ.get("PEER_BROKER_URL", "redis://"), consumer_id="0", max_connection_pool_size=200)


@functools.cache
def tally() -> contract.Tally:
    """Return the tally of this process."""
    return contract.Tally()


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def started(_: object) -> None:
    """Start the clock."""
    contract.ready()


@broker.task(task_name="noop")
async def noop(to: str, n: int, subject: str) -> int:  # noqa: ARG001 - 与各家相同的参数
    """Mark the tally and do nothing else."""
    tally().mark(n)
    return 1


def held() -> int:
    """Return the entries of the stream that were not read or not acknowledged."""
    with redis.Redis.from_url(contract.broker_url()) as client:
        (group,) = client.xinfo_groups(STREAM)
        return group["pending"] + group["lag"]


def single(n: int, _: int) -> tuple[float, int]:
    """Submit one at a time."""

    async def submit() -> float:
        await broker.startup()
        seconds = await contract.from_coroutines(n, lambda i: noop.kiq("user@example.com", i, "hello world"))
        await broker.shutdown()
        return seconds

    return uvloop.run(submit()), held()


def drain(n: int, concurrency: int) -> tuple[float, int]:
    """Submit, then run a worker."""
    single(n, concurrency)
    each = str(concurrency // PROCESSES)
    options = ["--workers", str(PROCESSES), "--max-async-tasks", each, "--max-prefetch", each, "--log-level", "ERROR"]
    command = [str(Path(sys.executable).with_name("taskiq")), "worker", "taskiq_redis_peer:broker", *options]
    return contract.drained(command, n, held)


if __name__ == "__main__":
    contract.answer(ABOUT, ["taskiq", "taskiq-redis"], {"single": single, "drain": drain})
