"""An api that dies with requests in flight, and another one on the same port."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from taskmill.dev import ports
from tests.chaos.conftest import WAIT_S, Chaos
from tests.chaos.process import KIND
from tests.support.command import Command
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]
CLIENTS = 16
BEFORE, AFTER = 300, 100  # 杀之前、重启之后各要确认多少个


class Load:
    """Clients that submit one task after another, each with a number of its own, and never try a number again."""

    def __init__(self, url: str, secret: str) -> None:
        self.accepted: dict[int, UUID] = {}
        self.cut: set[int] = set()  # 发出去了却没有回音：存了一次，或没存
        self.odd: list[str] = []
        self.stop = asyncio.Event()
        self.dead_at = float("inf")
        self.answers: list[float] = []  # 新进程答复的时刻
        self._url, self._headers = url, {"Authorization": f"Bearer {secret}"}
        self._numbers = count()

    async def client(self) -> None:
        """Submit until `stop` is set."""
        async with httpx2.AsyncClient(base_url=self._url, headers=self._headers, trust_env=False) as http:
            while not self.stop.is_set():
                await self._one(http, next(self._numbers))

    async def _one(self, http: httpx2.AsyncClient, number: int) -> None:
        since = time.monotonic()
        try:
            answer = await http.post("/tasks", json={"kind": KIND, "args": {"n": number}})
        except httpx2.ConnectError:
            await asyncio.sleep(0.02)  # 连不上，什么也没发出
            return
        except httpx2.TransportError:
            self.cut.add(number)
            return
        if not answer.is_success:
            self.odd.append(f"{answer.status_code} {answer.text}")
            self.stop.set()
            return
        self.accepted[number] = UUID(answer.json()["data"]["id"])
        if since > self.dead_at:
            self.answers.append(time.monotonic())


async def test_invariant_1_kill_9_of_the_api_with_16_clients(chaos: Chaos, tmp_path: Path) -> None:
    chaos.start("scheduler")
    chaos.start("worker", concurrency=50)
    platform = await chaos.platform()
    key = await platform.keys.create("chaos")
    await platform.close()
    command = Command(tmp_path, DATABASE_URL=chaos.postgres.url, BROKER_URL=chaos.valkey.url, LOG_LEVEL="WARNING")
    port = ports.choose(None)
    load = Load(f"http://{ports.HOST}:{port}/api/v1", key.secret)
    with command.started("api", "--port", str(port)) as victim:
        await chaos.workers(1)
        clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
        await eventually(lambda: load.odd or len(load.accepted) >= BEFORE, timeout=WAIT_S, why=f"{BEFORE} accepted")
        victim.kill()
        since = time.monotonic()
        await asyncio.to_thread(victim.wait, WAIT_S)
        load.dead_at = time.monotonic()
    with command.started("api", "--port", str(port)):
        await eventually(lambda: load.odd or len(load.answers) >= AFTER, timeout=WAIT_S, why=f"{AFTER} accepted again")
        load.stop.set()
        await asyncio.gather(*clients)
        assert load.odd == []
        first = load.answers[0] - since
        sys.stdout.write(f"\nrecovered in {first:.1f} s: kill -9 of the api, until the first answer of the next one\n")
        await chaos.all_final(len(load.accepted), since, f"kill -9 of the api with {len(load.cut)} requests in flight")
    await chaos.verdict(load.accepted.values())
    await numbers_fit(chaos, load)


async def numbers_fit(chaos: Chaos, load: Load) -> None:
    """No number is stored twice; every accepted one is, under its id; besides those only what was cut off."""
    assert load.cut, "the kill met no request in flight"
    rows = await chaos.rows("select id, (args->>'n')::int as n from taskmill.task_history")
    assert max(Counter(row["n"] for row in rows).values()) == 1, "a task was stored twice"
    stored = {row["n"]: row["id"] for row in rows}
    assert load.accepted.items() <= stored.items()
    assert stored.keys() <= load.accepted.keys() | load.cut
    assert len(load.accepted) <= len(rows) <= len(load.accepted) + len(load.cut)
