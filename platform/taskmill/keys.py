"""Every Valkey key of the product, as functions. The queue name stands inside `{}`: one cluster slot per queue."""

from __future__ import annotations

from uuid import UUID

PREFIX = "taskmill"
GROUP = "workers"  # 每个流的消费组名


def tickets(queue: str, priority: int) -> str:
    """STREAM of tickets (field `t`: 28 bytes) for one queue and priority."""
    return f"{PREFIX}:{{{queue}}}:tickets:{priority}"


def epoch(queue: str) -> str:
    """HASH: `start` (PostgreSQL time, ms) and `full:<priority>` flags; its absence means the streams were lost."""
    return f"{PREFIX}:{{{queue}}}:epoch"


def epoch_flag(priority: int) -> str:
    """Field of `epoch` that says: the window of this priority overflowed, only the stager feeds."""
    return f"full:{priority}"


def writable() -> str:
    """HASH that `/readyz` writes to see whether Valkey takes writes: a replica and a full server do not."""
    return f"{PREFIX}:writable"


def hints(worker_id: UUID) -> str:
    """PUBSUB channel that asks one worker to renew its lease at once (a cancel waits in PostgreSQL)."""
    return f"{PREFIX}:hints:{worker_id}"
