"""Faults of Valkey."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import redis.exceptions

from taskmill import keys
from taskmill.constants import PRIORITIES
from taskmill.dev import passwords
from tests.chaos.driver.faults import fault
from tests.chaos.driver.stage import BULK, QUEUES, Stage, probe_queue

ODD = (redis.exceptions.RedisError, OSError)
KILL = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@fault("Valkey killed (-9) and restarted", "valkey", 2, 8)
async def killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The append-only file comes back, up to a second old."""
    await asyncio.to_thread(stage.valkey.kill)
    try:
        yield ""
    finally:
        await asyncio.to_thread(stage.valkey.restart)


@fault("Valkey stopped and started", "valkey", 3, 10)
async def stopped(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """An orderly stop: connections are closed, new ones refused."""
    await asyncio.to_thread(stage.valkey.stop)
    try:
        yield ""
    finally:
        await asyncio.to_thread(stage.valkey.restart)


@fault("Valkey frozen", "valkey", 10, 20)
async def frozen(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Connections stay open and nobody answers."""
    await asyncio.to_thread(stage.valkey.pause)
    try:
        yield ""
    finally:
        await asyncio.to_thread(stage.valkey.resume)


@fault("Valkey flushed", "valkey", 2, 4)
async def flushed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """FLUSHALL, twice."""
    async with stage.valkey_client() as client:
        await client.flushall()
        yield ""
        with suppress(*ODD):
            await client.flushall()


@fault("Valkey full", "valkey", 6, 12)
async def full(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """`maxmemory` reached, nothing is evicted: writes are refused."""
    async with stage.valkey_client() as client:
        await client.config_set("maxmemory", "1mb")
        try:
            yield ""
        finally:
            await client.config_set("maxmemory", "0")


@fault("Valkey's password changed", "valkey", 5, 10)
async def password_changed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Everybody is sent away, and whoever comes back is refused."""
    async with stage.valkey_client() as client:  # 已登录的连接不受影响，用它改回来
        await client.config_set("requirepass", passwords.new())
        await client.execute_command(*KILL)
        try:
            yield ""
        finally:
            await client.config_set("requirepass", passwords.read(stage.valkey.root) or "")


@fault("Valkey's keys of another type", "valkey", 3, 6)
async def foreign_types(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Somebody wrote strings where streams and epochs stood."""
    names = [keys.tickets(queue, priority) for queue, priority in _lanes(stage, rng)] + [keys.epoch(rng.choice(BULK))]
    async with stage.valkey_client() as client:
        for name in names:
            await client.delete(name)
            await client.set(name, "somebody else's")
    yield f"{len(names)} of them"


@fault("Valkey lost some streams", "valkey", 2, 4)
async def streams_lost(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Tickets and consumer groups are gone, the epoch is still there."""
    names = [keys.tickets(queue, priority) for queue, priority in _lanes(stage, rng)]
    async with stage.valkey_client() as client:
        await client.delete(*names)
    yield f"{len(names)} of them"


@fault("Valkey lost all tickets", "valkey", 2, 4)
async def tickets_lost(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Every stream is cut to nothing, again and again; groups and epochs stay."""
    async with stage.valkey_client() as client:
        for _ in range(10):
            async for name in client.scan_iter(
                match=keys.tickets("*", 1).removesuffix("1") + "*", count=1000, _type="stream"
            ):
                await client.xtrim(name, maxlen=0, approximate=False)
            await asyncio.sleep(0.1)
    yield ""


def _lanes(stage: Stage, rng: random.Random) -> list[tuple[str, int]]:
    """各工作进程探针的道，与别的道里的一半：恢复的时间因此量得到。"""
    probes = [(probe_queue(worker.name), 1) for worker in stage.of("worker")]
    others = [(queue, priority) for queue in QUEUES for priority in PRIORITIES]
    return [*probes, *rng.sample(others, len(others) // 2)]


@fault("Valkey failed over, old connections stay", "valkey", 3, 6)
async def failed_over(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The replica is promoted and gets the new connections; the old primary follows it and refuses writes."""
    await _fail_over(stage)
    yield "READONLY on what exists"
    await asyncio.to_thread(stage.valkeys[1].stop)


@fault("Valkey failed over, the old primary is gone", "valkey", 3, 6)
async def failed_over_gone(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The same when the old primary dies."""
    await _fail_over(stage)
    await asyncio.to_thread(stage.valkeys[1].kill)
    await asyncio.to_thread(stage.valkeys[1].stop)
    yield "connections reset"


async def _fail_over(stage: Stage) -> None:
    old, new = stage.valkeys
    await asyncio.to_thread(new.start)
    async with stage.valkey_client(new) as heir, stage.valkey_client(old) as primary:
        for server in (heir, primary):
            await server.config_set("masterauth", passwords.read(new.root) or "")
        await heir.replicaof("127.0.0.1", str(old.port))
        for _ in range(100):
            if (await heir.info("replication")).get("master_link_status") == "up":
                break
            await asyncio.sleep(0.1)
        await heir.replicaof("NO", "ONE")
        stage.gates.lead(stage.gates.names("valkey"), new.url)
        await primary.replicaof("127.0.0.1", str(new.port))
    stage.valkeys.reverse()


@fault("Valkey's clients killed", "valkey", 3, 6)
async def clients_killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """CLIENT KILL of everybody, once a second."""
    task = asyncio.create_task(_kill_clients(stage))
    try:
        yield ""
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _kill_clients(stage: Stage) -> None:
    while True:
        with suppress(*ODD):
            async with stage.valkey_client() as client:
                await client.execute_command(*KILL)
        await asyncio.sleep(1)
