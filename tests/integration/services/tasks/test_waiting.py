"""Who waits is told why, by the task itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskmill.engine.periodic.presence import Presence
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.tasks.explain.reasons import WORDS, WaitCode
from taskmill.stores.tasks.partitions import ensure_partitions
from taskmill.stores.workers.worker import Registration, leave, register
from tests.support import rows
from tests.support.platforms import opened

pytestmark = pytest.mark.anyio


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    """The services, with nobody who works."""
    async with opened(database_url, broker_url) as found:
        yield found


async def worker(
    platform: Platform, *, queues: tuple[str, ...] = ("default",), kind: str = "demo.echo:1", **facts: str
) -> None:
    """A live worker, changed by `facts`."""
    made = Registration(new_id(), "host", 1, "1", queues, [kind], 10)
    await register(platform.database.pool, made, 60)
    for name, value in facts.items():
        await platform.database.pool.execute(f"update taskmill.workers set {name} = {value} where id = $1", made.id)


async def codes(platform: Platform, state: str = "available", **columns: Any) -> list[str]:
    """The codes of a task in this state."""
    task_id = await rows.add_task(platform.database.pool, state=state, **columns)
    return [reason.code for reason in (await platform.tasks.get(task_id)).waiting]


async def test_a_task_that_waits_says_for_whom(platform: Platform) -> None:
    now = await rows.now(platform.database.pool)
    assert await codes(platform, ticket_at=now) == ["NO_WORKER"]
    assert await codes(platform) == ["NO_WORKER", "NO_SCHEDULER"]
    assert await codes(platform, "scheduled") == ["NOT_DUE", "NO_WORKER", "NO_SCHEDULER"]
    await worker(platform, kind="demo.other:1")
    assert await codes(platform, ticket_at=now) == ["KIND_NOT_SERVED"]
    assert await codes(platform, queue="elsewhere", ticket_at=now) == ["NO_WORKER"]
    await worker(platform)
    assert await codes(platform, priority=1, ticket_at=now) == []
    assert await codes(platform, kind_version=2, ticket_at=now) == ["KIND_NOT_SERVED"]
    await platform.queues.pause("default", by="somebody")
    assert await codes(platform, ticket_at=now) == ["QUEUE_PAUSED"]


@pytest.mark.parametrize(
    "facts",
    [{"lease_until": "now() - interval '1 second'"}, {"draining": "true"}, {"dead_at": "now()"}, {"order_kind": "'drain'"}],
    ids=["silent", "draining", "dead", "ordered to drain"],
)  # fmt: skip
async def test_a_worker_that_takes_nothing_does_not_count(platform: Platform, facts: dict[str, str]) -> None:
    await worker(platform, **facts)
    assert "NO_WORKER" in await codes(platform)


@pytest.mark.parametrize("state", ["completed", "discarded", "running"])
async def test_a_task_that_does_not_wait_says_nothing(platform: Platform, state: str) -> None:
    pool = platform.database.pool
    task_id = await rows.add_running(pool, new_id()) if state == "running" else None
    if task_id is None:
        async with pool.acquire() as connection:
            await ensure_partitions(connection, 1)
        task_id = await rows.add_final(pool, await rows.now(pool), state=state)
    assert (await platform.tasks.get(task_id)).waiting == []


async def test_a_scheduler_lives_from_its_first_renewal_until_it_leaves_or_falls_silent(platform: Platform) -> None:
    pool, presence = platform.database.pool, Presence(platform.database)
    assert await platform.workers.schedulers() == 0
    await presence.run_once()
    await presence.run_once()
    assert await platform.workers.schedulers() == 1
    assert "NO_SCHEDULER" not in await codes(platform)
    await pool.execute("update taskmill.schedulers set lease_until = now() - interval '1 second'")
    assert "NO_SCHEDULER" in await codes(platform)
    await presence.run_once()
    await presence.leave()
    assert await pool.fetchval("select count(*) from taskmill.schedulers") == 0


async def test_a_scheduler_whose_loops_are_stuck_does_not_say_that_it_lives(platform: Platform) -> None:
    presence = Presence(platform.database, lambda: ["stager"])
    assert await presence.run_once() == {"stuck": 1}
    assert await platform.workers.schedulers() == 0


async def test_the_rows_of_schedulers_that_are_long_gone_are_removed(platform: Platform) -> None:
    pool = platform.database.pool
    await Presence(platform.database).run_once()
    await pool.execute("update taskmill.schedulers set lease_until = now() - interval '2 hours'")
    await Presence(platform.database).run_once()
    assert await pool.fetchval("select count(*) from taskmill.schedulers") == 1


async def test_a_worker_that_left_in_order_is_stopped(platform: Platform) -> None:
    worker_id = await rows.add_worker(platform.database.pool)
    await leave(platform.database.pool, worker_id, "stopped")
    assert (await platform.workers.counts())["stopped"] == 1


def test_every_code_has_words_in_both_languages() -> None:
    assert set(WORDS) == set(WaitCode)
    for words in WORDS.values():
        assert not any("一" <= char <= "鿿" for char in words.en)
        assert any("一" <= char <= "鿿" for char in words.zh)
