"""Workers that die, freeze and are asked to leave, under load."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from taskmill.services.tasks.submit_request import SubmitRequest
from tests.chaos.conftest import LEASE_S, Chaos, ended
from tests.chaos.process import POISON
from tests.support.waiting import eventually, slowness

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]


async def test_kill_9_of_a_worker_with_200_tasks_in_flight(chaos: Chaos) -> None:
    chaos.start("scheduler")
    victim = chaos.start("worker", concurrency=200)
    await chaos.workers(1)
    ids = await chaos.submit(200, ms=4_000)
    await chaos.running(200)
    victim.kill()
    since = time.monotonic()
    chaos.start("worker", concurrency=200)
    await chaos.all_final(200, since, "kill -9 of a worker with 200 tasks in flight")
    await chaos.verdict(ids, attempt=1, crashes=1)  # 崩溃不耗尝试次数


async def test_sigterm_under_load_loses_and_counts_nothing(chaos: Chaos) -> None:
    chaos.start("scheduler")
    leaver = chaos.start("worker", concurrency=50, drain_grace_s=0.3)
    await chaos.workers(1)
    ids = await chaos.submit(400, ms=1_000)
    await chaos.running(40)
    leaver.send_signal(signal.SIGTERM)
    since = time.monotonic()
    assert await ended(leaver) == 0
    assert time.monotonic() - since < 5 * slowness()
    assert await chaos.value("select count(*) from taskmill.tasks where state = 'running'") == 0
    chaos.start("worker", concurrency=100)
    await chaos.all_final(400, since, "SIGTERM under load")
    await chaos.verdict(ids)
    # 交还的都记了原因，一次也没算进预算
    assert await chaos.value("select count(*) from taskmill.task_attempts where cause <> 'drain'") == 0
    assert await chaos.value("select count(*) from taskmill.task_history where attempt <> 1 or crash_count <> 0") == 0
    assert await chaos.value("select count(*) from taskmill.task_history where claim_no > 1") > 0  # 确有交还


async def test_rolling_restarts_under_load_count_nothing(chaos: Chaos) -> None:
    chaos.start("scheduler")
    worker = chaos.start("worker", concurrency=20)
    await chaos.workers(1)
    ids = await chaos.submit(3_000, ms=2)
    since = time.monotonic()
    for _ in range(2):
        successor = chaos.start("worker", concurrency=20)
        await chaos.workers(2)
        worker.send_signal(signal.SIGTERM)
        assert await ended(worker) == 0
        worker = successor
    await chaos.all_final(3_000, since, "two rolling restarts")
    await chaos.verdict(ids)
    assert await chaos.value("select count(*) from taskmill.task_attempts") == 0


async def test_invariant_3_a_worker_frozen_past_its_lease_changes_nothing(chaos: Chaos) -> None:
    chaos.start("scheduler")
    zombie = chaos.start("worker", concurrency=50)
    await chaos.workers(1)
    ids = await chaos.submit(50, ms=4_000)
    await chaos.running(50)
    zombie.send_signal(signal.SIGSTOP)
    since = time.monotonic()
    heir = chaos.start("worker", concurrency=50)
    await chaos.all_final(50, since, f"worker frozen past its lease of {LEASE_S:g} s")
    await chaos.verdict(ids, attempt=1, crashes=1)
    before = await chaos.rows("select * from taskmill.task_history order by id")
    zombie.send_signal(signal.SIGCONT)
    await chaos.workers(2)  # 换了新编号再来
    assert await chaos.rows("select * from taskmill.task_history order by id") == before
    assert await chaos.value("select count(distinct pid) from taskmill.workers") == 2
    heir.send_signal(signal.SIGTERM)
    assert await ended(heir) == 0
    more = await chaos.submit(20)
    await chaos.all_final(70, time.monotonic(), "the woken worker works again")
    await chaos.verdict([*ids, *more], attempt=1, crashes=1)


async def test_invariant_8_kill_9_again_and_again_spares_the_bystanders(chaos: Chaos) -> None:
    chaos.start("scheduler")
    ids = await chaos.submit(40, ms=1_500)
    since = time.monotonic()
    for _ in range(2):
        victim = chaos.start("worker", concurrency=10)
        await chaos.running(10)
        victim.kill()
        await ended(victim)

        async def rescued() -> bool:
            return await chaos.value("select count(*) from taskmill.tasks where state = 'running'") == 0

        await eventually(rescued)
    chaos.start("worker", concurrency=10)
    await chaos.all_final(40, since, "two workers killed one after the other")
    await chaos.verdict(ids, attempt=1, crashes=2)


async def test_invariant_8_a_poison_pill_is_discarded_and_its_neighbours_survive(chaos: Chaos) -> None:
    chaos.start("scheduler")
    platform = await chaos.platform()
    pill = (await platform.submit.submit(SubmitRequest(kind=POISON))).id
    await platform.close()
    ids = await chaos.submit(15, ms=300)
    since = time.monotonic()
    worker = chaos.start("worker", concurrency=5)

    async def over() -> bool:
        nonlocal worker
        if worker.poll() is not None:
            worker = chaos.start("worker", concurrency=5)
        return await chaos.value("select count(*) from taskmill.task_history") == 16

    # 四次启动、三次租约、再加可疑的邻居一个一个地跑：闲时约 15 秒，忙时数倍
    await eventually(over, timeout=180, poll=0.1)
    sys.stdout.write(f"\nrecovered in {time.monotonic() - since:.1f} s: a task that kills its worker three times\n")
    (row,) = await chaos.rows("select state, crash_count from taskmill.task_history where id = $1", pill)
    assert tuple(row) == ("discarded", 3)
    good = await chaos.rows("select id, state, crash_count from taskmill.task_history where id <> $1", pill)
    assert {r["id"] for r in good} == set(ids)
    assert {r["state"] for r in good} == {"completed"}
    assert max(r["crash_count"] for r in good) <= 2
