"""PostgreSQL that is away when a role starts."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from taskmill.dev.process_table import wait_until
from taskmill.errors import Code, SetupError, UnavailableError
from taskmill.services.startup import patiently
from taskmill.stores.schema import standing
from tests.conftest import PostgresFactory
from tests.support.command import Command

pytestmark = pytest.mark.anyio
GONE = "postgresql://u:p@127.0.0.1:1/x"
WAITS = re.compile("PostgreSQL 连接不上|cannot connect to PostgreSQL")  # 迁移由人来跑，日志随这个人
LONG_S = 90.0


async def test_it_gives_up_after_its_time_with_the_last_error() -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        await standing.verify(GONE)

    with pytest.raises(UnavailableError, match="DATABASE_UNAVAILABLE"):
        await patiently(work, 0.6)
    assert calls >= 2


async def test_no_patience_means_one_try() -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason="x")

    with pytest.raises(UnavailableError):
        await patiently(work, 0)
    assert calls == 1


async def test_a_stop_ends_the_wait() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(patiently(lambda: standing.verify(GONE), 1_000, stop))
    await asyncio.sleep(0)
    stop.set()
    with pytest.raises(UnavailableError):
        await waiting


async def test_what_no_waiting_mends_is_raised_at_once(database_url: str) -> None:
    async def behind() -> None:
        raise SetupError(Code.SCHEMA_BEHIND, found="a", expected="b")

    with pytest.raises(SetupError):
        await patiently(behind, 1_000)
    nowhere = re.sub(r"/[^/]+$", "/no_such_database", database_url)
    with pytest.raises(Exception, match="does not exist"):
        await patiently(lambda: standing.verify(nowhere), 1_000)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("worker",), ("scheduler",), ("migrate", "up")])
def test_a_role_waits_for_a_database_that_comes_later(
    tmp_path: Path, own_postgres: PostgresFactory, broker_url: str, arguments: tuple[str, ...]
) -> None:
    server = own_postgres()
    server.kill()
    command = Command(tmp_path, DATABASE_URL=server.url, BROKER_URL=broker_url)
    up = {"worker": "工作进程开始领取任务", "scheduler": "调度器已启动", "migrate": "migrated to"}[arguments[0]]
    with command.started(*arguments) as process:
        assert wait_until(lambda: bool(WAITS.search(command.told(arguments[0]))), LONG_S), command.told(arguments[0])
        server.restart()
        assert wait_until(lambda: up in command.told(arguments[0]), LONG_S), command.told(arguments[0])
        if arguments[0] != "migrate":
            process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 0


@pytest.mark.slow
def test_a_signal_ends_a_role_that_waits(tmp_path: Path, broker_url: str) -> None:
    command = Command(tmp_path, DATABASE_URL=GONE, BROKER_URL=broker_url, DATABASE_WAIT_S="1000")
    with command.started("worker") as process:
        assert wait_until(lambda: bool(WAITS.search(command.told("worker"))), LONG_S), command.told("worker")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 5
    assert "Traceback" not in command.told("worker")
