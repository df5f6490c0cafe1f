# /// script
# dependencies = ["dramatiq==2.2.1", "redis==8.1.0"]
# ///
"""Dramatiq with Redis as its broker."""

from __future__ import annotations

import functools
import os
import sys

import contract
import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware, Retries

PROCESSES = 2
ABOUT = {
    "system": "Dramatiq",
    "store": "redis",
    "durable": "list and hash in Valkey, acknowledged after the task",
    "tuned": "2 processes whose threads share the concurrency; of the middleware only Retries",
    "share": 0.2,
}


class Started(Middleware):
    """Starts the clock."""

    def after_worker_boot(self, _broker: object, _worker: object) -> None:
        """Say that this process can begin."""
        contract.ready()


broker = RedisBroker(url=os.environ.get("PEER_BROKER_URL", "redis://"), middleware=[Retries(), Started()])
dramatiq.set_broker(broker)


@functools.cache
def tally() -> contract.Tally:
    """Return the tally of this process."""
    return contract.Tally()


@dramatiq.actor
def noop(to: str, n: int, subject: str) -> None:  # noqa: ARG001 - 与各家相同的参数
    """Mark the tally and do nothing else."""
    tally().mark(n)


def held() -> int:
    """Return the messages that are not acknowledged."""
    with redis.Redis.from_url(contract.broker_url()) as client:
        return client.hlen("dramatiq:default.msgs")


def single(n: int, _: int) -> tuple[float, int]:
    """Submit one at a time."""
    return contract.from_threads(n, lambda i: noop.send("user@example.com", i, "hello world")), held()


def drain(n: int, concurrency: int) -> tuple[float, int]:
    """Submit, then run a worker."""
    single(n, concurrency)
    options = ["--processes", str(PROCESSES), "--threads", str(concurrency // PROCESSES)]
    return contract.drained([sys.executable, "-m", "dramatiq", "dramatiq_peer", *options], n, held)


if __name__ == "__main__":
    contract.answer(ABOUT, ["dramatiq"], {"single": single, "drain": drain})
