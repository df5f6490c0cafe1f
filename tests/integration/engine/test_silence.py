"""Connections that died without a word, servers that became read-only: everybody works again soon, without a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import redis.asyncio as redis

from taskmill import constants as c
from taskmill import task
from taskmill.api.app import create_app
from taskmill.engine.periodic.auditor import Auditor
from taskmill.engine.periodic.key_guard import KeyGuard
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.periodic.scheduler import build_loopers
from taskmill.errors import UnavailableError
from taskmill.services import constants as svc
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores import constants as sc
from taskmill.stores.broker.tickets import BROKER_AWAY
from tests.conftest import PostgresFactory, ValkeyFactory
from tests.support import api, rows
from tests.support.databases import execute
from tests.support.engines import final, platform_of, staged, submit, worker_on
from tests.support.proxy import Proxy
from tests.support.waiting import eventually, slowness

pytestmark = pytest.mark.anyio
BACK_S = 20.0  # 新连接能用之后，每个角色最多这么久就恢复
FAILOVER_S = 10.0


@task("test.double")
async def double(n: int) -> int:
    return 2 * n


@pytest.fixture
async def way(database_url: str) -> AsyncIterator[Proxy]:
    """The way to PostgreSQL."""
    async with Proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def broker_way(broker_url: str) -> AsyncIterator[Proxy]:
    """The way to Valkey."""
    async with Proxy(broker_url) as proxy:
        yield proxy


@asynccontextmanager
async def scheduled(platform: Platform) -> AsyncIterator[None]:
    """A stager and an auditor that loop; a ticket whose claim was lost needs both."""
    auditor = Looper(Auditor(platform.database, platform.tickets))
    async with staged(platform):
        auditor.start()
        try:
            yield
        finally:
            await auditor.stop()


async def fill(platform: Platform) -> None:
    """Have several connections in both pools."""

    async def orm() -> None:
        async with platform.database.sessions() as session:
            await session.connection()
            await asyncio.sleep(0.05)

    await asyncio.gather(
        *(orm() for _ in range(4)), *(platform.database.pool.execute("select pg_sleep(0.05)") for _ in range(6))
    )


async def test_the_api_answers_again_and_was_not_ready_meanwhile(way: Proxy, broker_url: str) -> None:
    async with api.opened(way.url, broker_url) as platform:
        first, second = await platform.keys.create("first"), await platform.keys.create("second")
        await fill(platform)
        async with api.client(create_app(platform), second.secret) as client:
            assert (await client.get("/readyz")).status_code == 200
            began = time.monotonic()
            assert way.freeze() >= 8
            assert (await client.get("/readyz")).status_code == 503

            async def accepted(secret: str) -> float:
                body = {"kind": api.KIND, "args": {}}
                while True:
                    answer = await client.post("/api/v1/tasks", json=body, headers={"Authorization": f"Bearer {secret}"})
                    if answer.status_code == 201:
                        return time.monotonic() - began
                    assert answer.status_code == 503, answer.text
                    await asyncio.sleep(0.1)

            took = await asyncio.gather(*(accepted(key.secret) for key in (first, second) for _ in range(5)))
            assert max(took) < BACK_S * slowness()
            assert (await client.get("/readyz")).status_code == 200


async def test_a_lookup_of_a_key_that_hangs_holds_up_nobody(way: Proxy, broker_url: str) -> None:
    async with api.opened(way.url, broker_url) as platform:
        key = await platform.keys.create("one")
        way.freeze()
        began = time.monotonic()
        found = await asyncio.gather(*(platform.keys.authenticate(key.secret) for _ in range(5)))
        assert [principal and principal.name for principal in found] == ["key:one"] * 5
        assert time.monotonic() - began < svc.LOOKUP_TIMEOUT_S - 0.5


async def test_a_worker_claims_and_settles_again_under_the_same_lease(
    database_url: str, way: Proxy, broker_url: str
) -> None:
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(platform_of(way.url, broker_url, double))
        far = await stack.enter_async_context(platform_of(database_url, broker_url, double))
        await stack.enter_async_context(scheduled(far))
        engine = await stack.enter_async_context(worker_on(near))
        before = await final(far, await submit(far, "test.double", {"n": 1}))
        began = time.monotonic()
        way.freeze()
        row = await final(far, await submit(far, "test.double", {"n": 2}))
        assert time.monotonic() - began < BACK_S * slowness()
        assert row["state"] == "completed"
        assert row["worker_id"] == before["worker_id"] == engine.worker.worker_id
        lease = "select lease_until > now() and dead_at is null from taskmill.workers where id = $1"
        assert await far.database.pool.fetchval(lease, engine.worker.worker_id)


async def test_every_loop_of_the_scheduler_comes_round_again(way: Proxy, broker_url: str) -> None:
    async with platform_of(way.url, broker_url, double) as platform:
        loopers = build_loopers(platform)
        for looper in loopers:
            looper.loop.period_s = 0.2
            if isinstance(looper.loop, KeyGuard):
                looper.loop.least_s = 0.2  # 它每轮按开销重定周期
            looper.start()
        try:
            await eventually(lambda: all(looper.last_success for looper in loopers))
            began = time.monotonic()
            way.freeze()
            await eventually(lambda: all((looper.last_success or 0) > began + sc.LINK_FRESH_S for looper in loopers))
            assert time.monotonic() - began < BACK_S * slowness()
        finally:
            await asyncio.gather(*(looper.stop() for looper in loopers))


async def test_dispatch_goes_on_when_the_connections_to_valkey_fall_silent(database_url: str, broker_way: Proxy) -> None:
    async with platform_of(database_url, broker_way.url, double) as platform, scheduled(platform), worker_on(platform):
        await final(platform, await submit(platform, "test.double", {"n": 1}))
        began = time.monotonic()
        broker_way.freeze()
        ids = [await submit(platform, "test.double", {"n": n}) for n in range(20)]
        assert time.monotonic() - began < 2 * slowness()  # 回答不等 Valkey
        for task_id in ids:
            assert (await final(platform, task_id))["state"] == "completed"
        assert time.monotonic() - began < BACK_S * slowness()


async def test_a_subscription_that_fell_silent_is_noticed(database_url: str, broker_way: Proxy) -> None:
    async with platform_of(database_url, broker_way.url, double) as platform:
        worker_id = uuid4()
        hints = platform.tickets.hints(worker_id)
        await anext(hints)  # 订阅的回执
        await platform.tickets.hint(worker_id)
        assert await anext(hints) is True
        broker_way.freeze()
        began = time.monotonic()
        with pytest.raises(BROKER_AWAY):
            async for _ in hints:
                pass
        assert time.monotonic() - began < BACK_S * slowness()


async def test_a_batch_of_many_lanes_does_not_wait_for_valkey(database_url: str, broker_way: Proxy) -> None:
    async with platform_of(database_url, broker_way.url, double) as platform:
        broker_way.hole = True
        broker_way.freeze()
        began = time.monotonic()
        requests = [api_request(f"lane{queue}", priority) for queue in range(4) for priority in c.PRIORITIES]
        assert len(await platform.submit.submit_many(requests)) == 16
        assert time.monotonic() - began < 2 * slowness()
        unticketed = "select count(*) from taskmill.tasks where ticket_at is null"

        async def known() -> bool:
            return await platform.database.pool.fetchval(unticketed) == 16

        # 第一条道的失败告诉其余各道：总共只等一次
        await eventually(known, timeout=(sc.BROKER_TIMEOUT_S + 5) * slowness())


async def test_a_cancel_and_a_deletion_do_not_wait_for_valkey_either(database_url: str, broker_way: Proxy) -> None:
    async with platform_of(database_url, broker_way.url, double) as platform:
        pool = platform.database.pool
        await rows.add_task(pool, queue="old")
        await pool.execute("delete from taskmill.tasks")
        task_id = await rows.add_running(pool, await rows.add_worker(pool))
        broker_way.hole = True
        broker_way.freeze()
        began = time.monotonic()
        assert (await platform.tasks.cancel(task_id)).cancel_requested
        await platform.queues.delete("old")
        assert time.monotonic() - began < 4 * svc.TICKET_HANG_S * slowness()


async def test_a_demoted_postgresql_is_left_for_the_new_primary(own_postgres: PostgresFactory, broker_url: str) -> None:
    server = own_postgres()
    async with platform_of(server.url, broker_url, double) as platform, scheduled(platform), worker_on(platform) as engine:
        await fill(platform)
        before = await final(platform, await submit(platform, "test.double", {"n": 1}))
        # 已有的会话都成了只读，只有新会话能写：如同旧主库还连着，而地址已指向新主库
        await execute(
            server.url,
            "alter database postgres set default_transaction_read_only = off",
            "alter system set default_transaction_read_only = on",
            "select pg_reload_conf()",
        )
        began = time.monotonic()
        row = await final(platform, await again(platform))
        assert time.monotonic() - began < FAILOVER_S * slowness()
        assert row["worker_id"] == before["worker_id"] == engine.worker.worker_id
        key = await platform.keys.create("orm")
        assert (await platform.keys.authenticate(key.secret)) is not None


async def test_a_demoted_valkey_is_left_for_the_new_primary(database_url: str, own_valkey: ValkeyFactory) -> None:
    old = own_valkey()
    new = own_valkey(password=urlsplit(old.url).password)
    async with (
        Proxy(old.url) as way,
        platform_of(database_url, way.url, double) as platform,
        scheduled(platform),
        worker_on(platform),
    ):
        await final(platform, await submit(platform, "test.double", {"n": 1}))
        way.aim(new.url)
        host, port = new.url.split("//")[1].split("/")[0].rsplit("@")[-1].split(":")
        async with redis.Redis.from_url(old.url) as client:
            await client.execute_command("REPLICAOF", host, port)
        began = time.monotonic()
        for n in range(5):
            assert (await final(platform, await submit(platform, "test.double", {"n": n})))["state"] == "completed"
        assert time.monotonic() - began < FAILOVER_S * slowness()


async def test_closing_does_not_wait_for_servers_that_are_gone(way: Proxy, broker_way: Proxy) -> None:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(platform_of(way.url, broker_way.url, double))
        await fill(platform)
        held = asyncio.create_task(platform.database.pool.execute("select pg_sleep(600)"))
        await asyncio.sleep(0)
        for each in (way, broker_way):
            each.hole = True
            each.freeze()
        began = time.monotonic()
        await asyncio.sleep(0)
        await platform.close()
        assert time.monotonic() - began < (c.SHUTDOWN_GRACE_S + sc.CLOSE_TIMEOUT_S + 1) * slowness()
        with pytest.raises(Exception, match=r"closed|terminated|cancel"):
            await held


def api_request(queue: str, priority: int) -> SubmitRequest:
    """A task for one lane."""
    return SubmitRequest(kind="test.double", args={"n": 1}, queue=queue, priority=priority)


async def again(platform: Platform) -> UUID:
    """Submit until it is accepted."""
    while True:
        try:
            return await submit(platform, "test.double", {"n": 2})
        except UnavailableError:
            await asyncio.sleep(0.1)
