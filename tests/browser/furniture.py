"""Things to look at: tasks in each state, queues, schedules and a worker, made once for a house."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleRequest, ScheduleService
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from taskmill.stores.queues.histogram import BASE
from tests.support import api
from tests.support.rich_kind import publish_rich

TRACE = """Traceback (most recent call last):
  File "/app/shop/tasks.py", line 31, in bill
    charge(order, card)
  File "/app/lib/python3.11/site-packages/httpx/_client.py", line 1027, in post
    return self.request("POST", url)
  File "/app/lib/python3.11/site-packages/httpx/_client.py", line 825, in request
    return self.send(request)
  File "/app/shop/bank.py", line 9, in answer
    raise BankError("card refused")
shop.bank.BankError: card refused
"""


WAITS = 40


async def submit(platform: Platform, **fields: Any) -> str:
    """Submit a task of the kind that the tests have."""
    return str((await platform.submit.submit(SubmitRequest(kind=api.KIND, **fields))).id)


async def furnish(platform: Platform) -> dict[str, str]:
    """Make one of each; returns ids of tasks by state."""
    ids: dict[str, str] = {}
    await publish_rich(platform)
    for n in range(12):
        done = await submit(platform, args={"text": f"order {n}", "n": n}, tags=["shop"])
        await api.finish(platform, done, State.DISCARDED if n % 4 == 3 else State.COMPLETED, result=b'{"paid": true}')
        ids["discarded" if n % 4 == 3 else "completed"] = done
    await platform.database.pool.execute(
        "update taskmill.task_attempts set traceback = $1, error_type = 'BankError', message = 'card refused'", TRACE
    )
    ids["group"] = await platform.database.pool.fetchval("select max(fingerprint) from taskmill.failures")
    ids["scheduled"] = await submit(platform, delay_s=3_600, queue="mail")
    ids["available"] = await submit(platform, queue="mail", args={"text": "<b>你好</b> \u202e 🎉"})
    ids["running"] = await submit(platform)
    await api.make_running(platform, ids["running"], await _worker(platform))
    await platform.queues.put("mail", QueuePolicyChange(max_running=3, rate=Rate(limit=5, period_s=60), retention_s=86_400))
    await platform.queues.pause("mail", by="key:ops")
    await waits(platform, "mail")
    schedules = ScheduleService(platform.database, platform.submit)
    await schedules.create(ScheduleRequest(name="nightly", kind=api.KIND, cron="0 8 * * *", timezone="Asia/Shanghai"))
    paused = await schedules.create(ScheduleRequest(name="often", kind=api.KIND, interval_s=20))
    await schedules.pause(str(paused.id))
    return ids


async def waits(platform: Platform, queue: str) -> None:
    """Tasks of a queue waited, now longer, now less, and ran: so many intervals of 5 minutes in a row."""
    await submit(platform, queue=queue)
    for number in range(WAITS):
        times = {20 * (1 + number % 9): 60, 400 * (1 + number % 7): 30, 3_000 * (1 + number % 5): 9, 20_000: 2}
        packed = sum(n * BASE ** (math.floor(2 * math.log2(ms)) + 1) for ms, n in times.items())
        await platform.database.pool.execute(
            "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_hist, run_hist) "
            "values (date_trunc('minute', now()) - $1 * interval '5 minutes', $2, $3, 'completed', $4, $5, $6, $6)",
            number, queue, api.KIND, uuid4(), sum(times.values()), Decimal(packed),
        )  # fmt: skip


async def _worker(platform: Platform) -> UUID:
    made = uuid4()
    await platform.database.pool.execute(
        "insert into taskmill.workers (id, hostname, pid, version, queues, kinds, concurrency, running, lease_until) "
        "values ($1, 'worker-1', 7, '0.1.0', '{default}', '{test.echo}', 10, 4, now() + interval '1 day')",
        made,
    )
    return made
