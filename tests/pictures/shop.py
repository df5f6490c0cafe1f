"""A shop with something to see: hours of work behind it, tasks that run, wait and failed, and a queue that somebody paused."""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg

from taskmill.dev.process_table import wait_until
from taskmill.stores.queues.histogram import BASE
from tests.e2e.conftest import Dev

SLEEP = shutil.which("sleep") or "/bin/sleep"
SETTINGS = {
    "LC_ALL": "C.UTF-8",
    "TASKMILL_QUEUES": "default,webhooks,mail,reports",
    "TASKMILL_PLUGIN_SHELL_ALLOW": SLEEP,
}
LINK = re.compile(r"http://\S+/dashboard/login\?token=\S+")
DEMO_S, WAIT_S = 180.0, 60.0
MINUTES, BUSY, FAILED = 360, 2, 12
LONG_S = 900
# 队列、类型、每分钟约多少、等多久、跑多久（毫秒）
WORK = (
    ("webhooks", "http.request", 46, 40, 180),
    ("mail", "email.send", 18, 90, 320),
    ("reports", "shell.run", 5, 900, 4_000),
)


@dataclass(frozen=True)
class Shop:
    """Where it is, and the tasks that the pictures show."""

    url: str
    link: str
    flaky: str
    waiting: str


def open_shop(dev: Dev) -> Shop:
    """Fill it, and wait until it looks as it should."""
    assert wait_until(lambda: LINK.search(dev.told()) is not None, DEMO_S), dev.told()
    facts = json.loads(dev.run_json.read_text())
    asyncio.run(_hours_of_work(facts["database_url"]))
    with dev.api() as api:

        def call(method: str, path: str, **options: Any) -> Any:
            answer = api.request(method, path, **options)
            assert answer.is_success, answer.text
            return answer.json()["data"]

        def submit(kind: str, args: dict[str, Any], **fields: Any) -> str:
            return str(call("POST", "/tasks", json={"kind": kind, "args": args, **fields})["id"])

        def count(**query: str) -> int:
            return len(call("GET", "/tasks", params={"page_size": "100", **query})["items"])

        demo = next(
            each
            for each in call("GET", "/tasks", params={"page_size": "100"})["items"]
            if each["kind"] == "http.request" and each["attempt"] > 1
        )
        shop = call("GET", f"/tasks/{demo['id']}")["args"]["url"].removesuffix("/flaky")
        for order in range(FAILED):
            args = {"url": f"{shop}/orders/{1_700 + order}/paid", "method": "POST", "json": {"order": 1_700 + order}}
            submit("http.request", args, queue="webhooks", tags=["release-42"])
        call("PUT", "/queues/reports", json={"max_running": BUSY})
        reports = [submit("shell.run", {"argv": [SLEEP, str(LONG_S)]}, queue="reports", timeout_s=LONG_S) for _ in range(7)]
        call("PUT", "/queues/mail", json={})
        call("POST", "/queues/mail/pause")
        for number in range(4):
            mail = {"to": [f"customer-{number}@shop.example"], "subject": "Your order", "text": "It is on its way."}
            submit("email.send", mail, queue="mail", delay_s=3_600 if number == 3 else 0)
        every = {"kind": "shell.run", "args": {"argv": [SLEEP, "1"]}, "queue": "reports"}
        call(
            "POST", "/schedules", json={"name": "nightly-report", "cron": "0 8 * * *", "timezone": "Asia/Shanghai", **every}
        )
        seen = wait_until(lambda: count(state="discarded") == FAILED and count(state="running") == BUSY, WAIT_S)
        assert seen, call("GET", "/tasks", params={"page_size": "100"})
    found = LINK.search(dev.told())
    assert found is not None
    return Shop(facts["api_url"], found[0], str(demo["id"]), reports[-1])


def packed(times: dict[float, int]) -> Decimal:
    """Return a histogram of milliseconds as the rollups keep it."""
    return Decimal(sum(n * BASE ** (math.floor(2 * math.log2(ms)) + 1) for ms, n in times.items()))


async def _hours_of_work(database_url: str) -> None:
    """六小时里每分钟结束了多少：照公式，每次都一样。"""
    rows = []
    for minute in range(MINUTES):
        for queue, kind, rate, wait, run in WORK:
            n = round(rate * (1 + 0.45 * math.sin(minute / 7) + 0.03 * (minute * 7 % 11)))
            failed = rate // 9 if minute in {3, 4, 5, 6} and queue == "webhooks" else 0
            for outcome, count in (("completed", n), ("discarded", failed)):
                slow = 1 + 2.5 * math.exp(-(((minute - 150) / 40) ** 2))  # 两个多小时以前慢过一阵
                waits = packed({wait * slow: count, 3 * wait * slow: count // 20, 12 * wait * slow: count // 60})
                runs = packed({run: count})
                rows += [(minute, queue, kind, outcome, uuid4(), count, count * wait, count * run, waits, runs)] * (
                    count > 0
                )
    connection = await asyncpg.connect(database_url)
    try:
        await connection.executemany(
            "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_ms, run_ms, wait_hist, run_hist) values "
            "(date_trunc('minute', now()) - ($1 + 1) * interval '1 minute', $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            rows,
        )
    finally:
        await connection.close()
