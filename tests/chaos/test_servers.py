"""Servers that die, come back, forget everything; and a submitter that dies in the middle."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import pytest
import redis

from taskmill.errors import TaskmillError
from taskmill.services.tasks.submit_request import SubmitRequest
from tests.chaos.conftest import LEASE_S, Chaos
from tests.chaos.process import KIND

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]


def flush(chaos: Chaos) -> None:
    with redis.Redis.from_url(chaos.valkey.url) as client:
        client.flushall()


async def test_flushall_with_10_000_waiting(chaos: Chaos) -> None:
    chaos.start("scheduler")
    ids = await chaos.submit(10_000, ms=20)
    flush(chaos)
    since = time.monotonic()
    chaos.start("worker", concurrency=100)
    await chaos.workers(1)
    await chaos.running(1)
    flush(chaos)  # 领到一半再清一次
    await chaos.all_final(10_000, since, "FLUSHALL with 10,000 waiting, worker start included")
    await chaos.verdict(ids)


async def test_valkey_down_at_start_then_up(chaos: Chaos) -> None:
    await asyncio.to_thread(chaos.valkey.kill)
    chaos.start("scheduler")
    chaos.start("worker")
    ids = await chaos.submit(200)
    await chaos.workers(1)
    assert await chaos.value("select count(*) from taskmill.tasks where state = 'available'") == 200
    await asyncio.to_thread(chaos.valkey.restart)
    await chaos.all_final(200, time.monotonic(), "Valkey down at the start, then up")
    await chaos.verdict(ids)


async def test_valkey_killed_and_restarted_under_load(chaos: Chaos) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    ids = await chaos.submit(1_000, ms=100)
    await chaos.running(10)
    await asyncio.to_thread(chaos.valkey.kill)
    more = await chaos.submit(200)
    await asyncio.to_thread(chaos.valkey.restart)
    await chaos.all_final(1_200, time.monotonic(), "Valkey killed and restarted under load")
    await chaos.verdict([*ids, *more])


async def test_postgresql_killed_and_restarted_under_load(chaos: Chaos) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    platform = await chaos.platform()
    accepted: list[UUID] = []
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            try:
                accepted.append((await platform.submit.submit(SubmitRequest(kind=KIND, args={"ms": 5}))).id)
            except TaskmillError:
                await asyncio.sleep(0.02)

    loads = [asyncio.create_task(load()) for _ in range(10)]
    for _ in range(2):
        before = len(accepted)
        while len(accepted) < before + 200:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(chaos.postgres.kill)
        await asyncio.to_thread(chaos.postgres.restart)
    since = time.monotonic()
    before = len(accepted)
    while len(accepted) < before + 100:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*loads)
    await platform.close()
    await chaos.all_final(len(accepted), since, "PostgreSQL killed and restarted twice under load")
    await chaos.verdict(accepted)


async def test_postgresql_frozen_for_longer_than_a_lease_kills_nobody(chaos: Chaos) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    ids = await chaos.submit(300, ms=500)
    await chaos.running(15)
    await asyncio.to_thread(chaos.postgres.pause)
    await asyncio.sleep(LEASE_S + 1)  # 比租约长；停摆本身就是要测的
    await asyncio.to_thread(chaos.postgres.resume)
    await chaos.all_final(300, time.monotonic(), "PostgreSQL frozen for longer than a lease")
    await chaos.verdict(ids)  # 谁也没死，没有崩溃计数


async def test_invariant_1_kill_9_of_the_submitter(chaos: Chaos) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=50)
    submitter = chaos.start("submitter")
    assert submitter.stdout is not None
    lines = [await asyncio.to_thread(submitter.stdout.readline) for _ in range(300)]
    submitter.kill()
    lines += (await asyncio.to_thread(submitter.stdout.read)).splitlines(keepends=True)
    since = time.monotonic()
    accepted = {UUID(line.decode().strip()) for line in lines if line.endswith(b"\n")}
    assert len(accepted) >= 300
    await chaos.all_final(len(accepted), since, f"kill -9 of the submitter after {len(accepted)} acknowledged tasks")
    await chaos.verdict(accepted)


async def test_kill_9_of_the_scheduler(chaos: Chaos) -> None:
    first = chaos.start("scheduler")
    chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    platform = await chaos.platform()
    requests = [SubmitRequest(kind=KIND, delay_s=0.5 + n / 200) for n in range(400)]
    ids = [done.id for done in await platform.submit.submit_many(requests)]
    await platform.close()
    first.kill()
    since = time.monotonic()
    chaos.start("scheduler")
    await chaos.all_final(400, since, "kill -9 of the scheduler, another one started")
    await chaos.verdict(ids)
