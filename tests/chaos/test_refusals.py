"""Servers that answer, but not as hoped: lost replies, no memory, read-only, silence."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis

from taskmill.errors import UnavailableError
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import load_settings
from tests.chaos.conftest import LEASE_S, Chaos
from tests.chaos.process import KIND, work
from tests.support.engines import registry_of
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]


async def test_lost_replies_to_commits_of_a_worker(chaos: Chaos) -> None:
    async with Proxy(chaos.postgres.url) as proxy:
        chaos.start("scheduler")
        chaos.start("worker", concurrency=20, database_url=proxy.url)
        await chaos.workers(1)
        proxy.lose(25, every=4)
        since = time.monotonic()
        ids = await chaos.submit(400, ms=20)
        await chaos.all_final(400, since, "25 replies to commits of a worker were lost")
        assert proxy.lost > 0
        await chaos.verdict(ids)


async def test_lost_replies_to_commits_of_submits(chaos: Chaos) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=50)
    await chaos.workers(1)
    accepted: dict[int, UUID] = {}
    unknown: set[int] = set()
    async with Proxy(chaos.postgres.url) as proxy:
        settings = load_settings(database_url=proxy.url, broker_url=chaos.valkey.url)
        platform = await Platform.open(settings, PluginHost(registry=registry_of(work)))

        async def client(first: int) -> None:
            for number in range(first, first + 30):
                try:
                    accepted[number] = (await platform.submit.submit(SubmitRequest(kind=KIND, args={"n": number}))).id
                except UnavailableError:
                    unknown.add(number)

        proxy.lose(10, every=3)
        since = time.monotonic()
        await asyncio.gather(*(client(100 * n) for n in range(10)))
        await platform.close()
    assert unknown
    assert accepted
    await chaos.all_final(len(accepted), since, f"replies to submits were lost, {len(unknown)} of 300 unacknowledged")
    await chaos.verdict(accepted.values())
    rows = await chaos.rows("select id, (args->>'n')::int as n from taskmill.task_history")
    assert max(Counter(row["n"] for row in rows).values()) == 1, "a task was stored twice"
    stored = {row["n"]: row["id"] for row in rows}
    assert accepted.items() <= stored.items()
    assert stored.keys() <= accepted.keys() | unknown


@contextlib.contextmanager
def out_of_memory(client: redis.Redis) -> Iterator[str]:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    yield "used memory > 'maxmemory'"
    client.config_set("maxmemory", "0")


@contextlib.contextmanager
def no_snapshot(client: redis.Redis) -> Iterator[str]:
    """MISCONF: the last snapshot failed, as on a full disk; here a folder stands where the file should be."""
    folder, name = (client.config_get(what)[what] for what in ("dir", "dbfilename"))
    taken = Path(folder) / name
    taken.unlink(missing_ok=True)
    taken.mkdir()
    client.config_set("save", "3600 1000000")
    client.bgsave()
    yield "MISCONF"
    taken.rmdir()
    client.bgsave()


@contextlib.contextmanager
def no_replicas(client: redis.Redis) -> Iterator[str]:
    client.config_set("min-replicas-to-write", "1")
    yield "NOREPLICAS"
    client.config_set("min-replicas-to-write", "0")


@contextlib.contextmanager
def no_connections(client: redis.Redis) -> Iterator[str]:
    client.config_set("maxclients", "1")
    client.client_kill_filter(_type="normal", skipme=True)
    client.client_kill_filter(_type="pubsub", skipme=True)
    yield "max number of clients"
    client.config_set("maxclients", "10000")


@pytest.mark.parametrize("refusal", [out_of_memory, no_snapshot, no_replicas, no_connections], ids=lambda it: it.__name__)
async def test_valkey_refuses_tickets_and_loses_no_task(chaos: Chaos, refusal: Any) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    first = await chaos.submit(100, ms=20)
    with redis.Redis.from_url(chaos.valkey.url, decode_responses=True) as client:
        with refusal(client) as words:
            await eventually(lambda: refused(chaos, words))
            more = await chaos.submit(200, ms=5)  # 收下：真相在 PostgreSQL
            assert await refused(chaos, words)
            waiting = "select count(*) from taskmill.tasks where id = any($1) and state = 'available'"
            assert await chaos.value(waiting, more) == len(more)
        since = time.monotonic()
        await chaos.all_final(300, since, f"Valkey refused: {words}")
    await chaos.verdict([*first, *more])


async def refused(chaos: Chaos, words: str) -> bool:
    """Whether a stranger's write on a connection of its own is refused with these words."""
    with redis.Redis.from_url(chaos.valkey.url, retry=None) as stranger:
        try:
            stranger.xadd("probe", {"a": "b"}, maxlen=1)
        except redis.exceptions.RedisError as error:
            return words in str(error)
    return False


async def test_valkey_frozen_for_longer_than_its_timeout(chaos: Chaos) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    ids = await chaos.submit(300, ms=100)
    await chaos.running(10)
    await asyncio.to_thread(chaos.valkey.pause)
    await asyncio.sleep(6)  # 比命令的 5 秒时限长；停摆本身就是要测的
    await asyncio.to_thread(chaos.valkey.resume)
    await chaos.all_final(300, time.monotonic(), "Valkey frozen for 6 s")
    await chaos.verdict(ids)


async def test_postgresql_read_only_for_longer_than_a_lease_kills_nobody(chaos: Chaos) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    platform = await chaos.platform()
    ids = await chaos.submit(200, ms=300)
    await chaos.running(10)
    await _read_only(chaos, "on")
    await asyncio.sleep(2 * LEASE_S + 1)  # 够一个只看「答不答」的救援者误判；停摆本身就是要测的
    with pytest.raises(UnavailableError):
        await platform.submit.submit(SubmitRequest(kind=KIND))
    await _read_only(chaos, "off")
    since = time.monotonic()

    async def writable() -> bool:
        try:
            ids.append((await platform.submit.submit(SubmitRequest(kind=KIND))).id)
        except UnavailableError:
            return False
        return True

    await eventually(writable)
    await platform.close()
    await chaos.all_final(201, since, "PostgreSQL read-only for longer than two leases")
    await chaos.verdict(ids)


async def _read_only(chaos: Chaos, value: str) -> None:
    await chaos.rows(f"alter system set default_transaction_read_only = {value}")
    await chaos.rows("select pg_reload_conf()")
