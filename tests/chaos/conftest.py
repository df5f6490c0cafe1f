"""Servers and processes that a test of faults may kill, and the verdict at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from taskmill.dev.servers import PostgresServer, ValkeyServer
from taskmill.plugin.host import PluginHost
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.settings import load_settings
from tests.chaos.process import KIND, poison, work
from tests.conftest import PostgresFactory, ValkeyFactory
from tests.support.children import tied
from tests.support.engines import registry_of
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
LEASE_S = 5.0  # 心跳的十倍：忙的机器上也不该误判谁死了
WAIT_S = 90.0  # 忙的机器上启动一个进程要十几秒
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
Process = subprocess.Popen[bytes]


class Chaos:
    """The stage of one test: its servers, its processes, its questions to PostgreSQL."""

    def __init__(self, postgres: PostgresServer, valkey: ValkeyServer, logs: Path, stack: ExitStack) -> None:
        self.postgres, self.valkey = postgres, valkey
        self._logs, self._stack = logs, stack
        self._count = 0

    def start(self, role: str, **settings: Any) -> Process:
        """Start a role; its log is a file in the test's folder."""
        variables = {
            "TASKMILL_DATABASE_URL": self.postgres.url,
            "TASKMILL_BROKER_URL": self.valkey.url,
            "TASKMILL_LEASE_S": str(LEASE_S),
            "TASKMILL_HEARTBEAT_S": "0.5",
            **{f"TASKMILL_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._count += 1
        log = self._stack.enter_context((self._logs / f"{self._count}-{role}.log").open("wb"))
        process = self._stack.enter_context(
            subprocess.Popen(
                tied(sys.executable, "-m", "tests.chaos.process", role),
                cwd=ROOT,
                env=os.environ | variables,
                stdout=subprocess.PIPE if role == "submitter" else log,
                stderr=log,
            )
        )
        self._stack.callback(_end, process)
        return process

    async def value(self, query: str, *args: Any) -> Any:
        """Return one value, or None while PostgreSQL is away."""
        rows = await self.rows(query, *args)
        return rows[0][0] if rows else None

    async def rows(self, query: str, *args: Any) -> list[Any]:
        """Return rows, none while PostgreSQL is away."""
        try:
            connection = await asyncpg.connect(self.postgres.url, timeout=2)
        except AWAY:
            return []
        try:
            return await connection.fetch(query, *args)
        except AWAY:
            return []
        finally:
            connection.terminate()

    async def workers(self, count: int) -> None:
        """Wait until so many workers hold a lease and the scheduler has made its first partitions.

        A role that finds PostgreSQL away at its own start gives up: faults are for roles that run.
        """
        query = """
            select count(*) from taskmill.workers where dead_at is null and lease_until > now()
            and exists (select from pg_inherits where inhparent = 'taskmill.task_history'::regclass)
        """

        async def enough() -> bool:
            return (await self.value(query) or 0) >= count

        await eventually(enough, timeout=WAIT_S, why=f"{count} workers")

    async def platform(self) -> Platform:
        """Open the platform in this process, to submit with."""
        settings = load_settings(database_url=self.postgres.url, broker_url=self.valkey.url)
        platform = await Platform.open(settings, PluginHost(registry=registry_of(work, poison)))
        self._stack.callback(platform.database.pool.terminate)
        return platform

    async def submit(self, count: int, *, ms: int = 0) -> list[UUID]:
        """Submit tasks in one batch."""
        platform = await self.platform()
        requests = [SubmitRequest(kind=KIND, args={"n": n, "ms": ms}) for n in range(count)]
        done = await platform.submit.submit_many(requests)
        await platform.close()
        return [item.id for item in done]

    async def running(self, count: int) -> None:
        """Wait until so many tasks run."""
        query = "select count(*) from taskmill.tasks where state = 'running'"

        async def enough() -> bool:
            return (await self.value(query) or 0) >= count

        await eventually(enough, timeout=WAIT_S, why=f"{count} running")

    async def all_final(self, expected: int, since: float, what: str, *, timeout: float = 2 * WAIT_S) -> None:
        """Wait until the table of live tasks is empty, and print how long that took since the fault."""

        async def done() -> bool:
            final = await self.value("select count(distinct id) from taskmill.task_history")
            return final is not None and final >= expected and await self.value("select count(*) from taskmill.tasks") == 0

        await eventually(done, timeout=timeout, poll=0.05, why=f"{expected} final")
        sys.stdout.write(f"\nrecovered in {time.monotonic() - since:.1f} s: {what}\n")

    async def verdict(self, ids: Collection[UUID], *, attempt: int | None = 1, crashes: int | None = 0) -> None:
        """Every id final exactly once, completed, counted once; nothing else is left."""
        rows = await self.rows("select id, state, attempt, crash_count from taskmill.task_history")
        assert len(rows) == len({row["id"] for row in rows}), "a task is final twice"
        assert set(ids) <= {row["id"] for row in rows}, "a task was lost"
        assert {row["state"] for row in rows} == {"completed"}
        if attempt is not None:
            assert {row["attempt"] for row in rows} == {attempt}
        if crashes is not None:
            assert max(row["crash_count"] for row in rows) <= crashes
        assert await self.value("select count(*) from taskmill.tasks") == 0
        assert await self.value("select sum(n) from taskmill.rollups") == len(rows)


def _end(process: Process) -> None:
    """冻住的进程要先唤醒才收得走。"""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait()


@pytest.fixture
def chaos(own_postgres: PostgresFactory, own_valkey: ValkeyFactory, tmp_path: Path) -> Iterator[Chaos]:
    """Fresh servers; every process that the test started is ended afterwards."""
    with ExitStack() as stack:
        yield Chaos(own_postgres(), own_valkey(), tmp_path, stack)


async def ended(process: Process, timeout: float = WAIT_S) -> int:
    """Wait for the end of a process and return its exit code."""
    return await asyncio.to_thread(process.wait, timeout)
