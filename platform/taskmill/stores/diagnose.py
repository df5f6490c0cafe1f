"""Facts about the servers that `taskmill doctor` judges; each probe has its own short-lived connection."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date
from typing import Any

from taskmill import constants as c
from taskmill.stores import wire
from taskmill.stores.broker import link
from taskmill.stores.tasks.partitions import TODAY, list_partitions

LEASES = """
select count(*) filter (where lease_until >= now()) as held, count(*) as registered
from taskmill.workers where dead_at is null
"""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """Version such as 14 and its full text; skew: the database's clock minus ours, in seconds."""

    major: int
    version: str
    skew_s: float


@dataclass(frozen=True, slots=True)
class ValkeyFacts:
    """Name and version; `policy` None: the server does not let us read it; skew as for PostgreSQL."""

    version: str
    policy: str | None
    skew_s: float


async def connect(database_url: str) -> wire.Wire:
    """Open a connection for one probe; the caller closes it."""
    return await wire.connect(database_url, command_timeout_s=c.CONNECT_TIMEOUT_S)


async def postgres(database_url: str) -> PostgresFacts:
    """Return version and clock of PostgreSQL; errors of asyncpg pass through."""
    connection = await connect(database_url)
    try:
        before = time.time()
        epoch: Any = await connection.fetchval("select extract(epoch from clock_timestamp())")
        ours = (before + time.time()) / 2
        number: Any = await connection.fetchval("select current_setting('server_version_num')")
        text: Any = await connection.fetchval("select current_setting('server_version')")
    finally:
        await connection.close()
    return PostgresFacts(int(number) // 10_000, text, float(epoch) - ours)


async def valkey(broker_url: str) -> ValkeyFacts:
    """Return version, eviction policy and clock of Valkey; errors of redis pass through."""
    client = link.client(broker_url)
    try:
        before = time.time()
        whole, micro = await client.time()
        ours = (before + time.time()) / 2
        info = await client.info()
    finally:
        await client.aclose()
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info["redis_version"]
    return ValkeyFacts(f"{name} {version}", info.get("maxmemory_policy"), whole + micro / 1_000_000 - ours)


async def partitions(database_url: str) -> tuple[date, list[date]]:
    """Return the database's day (UTC) and the days that have a partition of the history."""
    connection = await connect(database_url)
    try:
        today: Any = await connection.fetchval(TODAY)
        return today, await list_partitions(connection)
    finally:
        await connection.close()


async def leases(database_url: str) -> tuple[int, int]:
    """Return how many workers hold a lease, and how many are registered and not dead."""
    connection = await connect(database_url)
    try:
        row: Any = await connection.fetchrow(LEASES)
    finally:
        await connection.close()
    return row["held"], row["registered"]


async def queues(database_url: str) -> list[str]:
    """Return the names of all queues."""
    connection = await connect(database_url)
    try:
        return [row["name"] for row in await connection.fetch("select name from taskmill.queues order by name")]
    finally:
        await connection.close()
