# /// script
# dependencies = ["celery[redis]==5.7.0", "gevent==26.9.0"]
# ///
"""Celery with Redis as its broker, acknowledging after the task."""

from __future__ import annotations

import functools
import os
import sys

import contract
import redis
from celery import Celery
from celery.signals import worker_ready

ABOUT = {
    "system": "Celery",
    "store": "redis",
    "durable": "list in Valkey, `acks_late`",
    "tuned": "10 processes (prefork) at concurrency 10, gevent at 1,000; results ignored, no gossip, mingle or heartbeat; prefetch 1,000",
    "share": 0.2,
}
PREFORK_MOST = 50  # 再多就不是进程能做的
PREFETCH = 1_000
app = Celery("celery_peer", broker=os.environ.get("PEER_BROKER_URL"))
app.conf.update(
    task_ignore_result=True, task_acks_late=True, broker_pool_limit=contract.CALLERS, task_store_errors_even_if_ignored=False,
    worker_hijack_root_logger=False, broker_connection_retry_on_startup=True, worker_send_task_events=False,
)  # fmt: skip


@functools.cache
def tally() -> contract.Tally:
    """Return the tally of this process."""
    return contract.Tally()


@worker_ready.connect
def started(**_: object) -> None:
    """Start the clock."""
    contract.ready()


@app.task(name="noop")
def noop(to: str, n: int, subject: str) -> int:  # noqa: ARG001 - 与各家相同的参数
    """Mark the tally and do nothing else."""
    tally().mark(n)
    return 1


def held() -> int:
    """Return what waits and what is not acknowledged."""
    with redis.Redis.from_url(contract.broker_url()) as client:
        return client.llen("celery") + client.hlen("unacked")


def single(n: int, _: int) -> tuple[float, int]:
    """Submit one at a time."""
    seconds = contract.from_threads(n, lambda i: noop.delay("user@example.com", i, "hello world"))
    return seconds, held()


def drain(n: int, concurrency: int) -> tuple[float, int]:
    """Submit, then run a worker."""
    single(n, concurrency)
    pool = "prefork" if concurrency <= PREFORK_MOST else "gevent"
    options = ["--pool", pool, "--concurrency", str(concurrency), f"--prefetch-multiplier={max(1, PREFETCH // concurrency)}"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    command = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", *options, *quiet]
    return contract.drained(command, n, held)


if __name__ == "__main__":
    contract.answer(ABOUT, ["celery", "kombu"], {"single": single, "drain": drain})
