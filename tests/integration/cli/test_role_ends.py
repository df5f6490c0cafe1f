"""SIGTERM ends every role in time, whatever hangs: the database, a handler, a thread, the event loop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskmill import constants as c
from taskmill.cli import constants as cc
from taskmill.cli.ending import EXIT_STUCK
from taskmill.dev.process_table import wait_until
from tests.conftest import PostgresFactory
from tests.support.command import Command
from tests.support.waiting import slowness

pytestmark = pytest.mark.timeout(400)

START_S = 90.0
GRACE_S = 1.0
READY = {"api": "/api/v1", "worker": "工作进程开始领取任务", "scheduler": "调度器已启动"}
PLUGIN = '''
import asyncio, sys, threading, time
from taskmill import RetryPolicy, hookimpl, task
from taskmill.plugin import Manifest

@task("try.stubborn")
async def stubborn() -> None:
    """Swallow every cancellation."""
    print("inside", file=sys.stderr, flush=True)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

@task("try.executor")
async def executor() -> None:
    """Leave a thread of the default executor behind."""
    print("inside", file=sys.stderr, flush=True)
    await asyncio.to_thread(threading.Event().wait)

@task("try.block")
async def block() -> None:
    """Block the event loop."""
    print("inside", file=sys.stderr, flush=True)
    time.sleep(600)

@task("try.exit", retry=RetryPolicy(max_attempts=1))
async def exit() -> None:
    """End the process, or so it believes."""
    async def child() -> None:
        sys.exit(0)
    await asyncio.create_task(child())

@task("try.echo")
async def echo() -> str:
    """Return a word."""
    return "fine"

@hookimpl
def taskmill_manifest():
    return Manifest(name="tryout", version="1", requires_api=">=1,<2", title_en="t", title_zh="t", summary_en="s", summary_zh="s")

@hookimpl
def taskmill_register(registry):
    registry.add(stubborn, executor, block, exit, echo)
'''


def made(folder: Path, database_url: str, broker_url: str) -> Command:
    (folder / "tryout_plugin.py").write_text(PLUGIN)
    command = Command(
        folder,
        DATABASE_URL=database_url,
        BROKER_URL=broker_url,
        API_PORT="0",
        PLUGIN_MODULES="tryout_plugin",
        PLUGINS_ALLOW="tryout",
        DRAIN_GRACE_S=str(GRACE_S),
    )
    command.environment["PYTHONPATH"] = str(folder)
    command.ok("migrate", "up")
    return command


@pytest.fixture
def command(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[Command]:
    """The command line beside an api and a scheduler."""
    command = made(tmp_path, database_url, broker_url)
    command.environment["TASKMILL_API_TOKEN"] = command.ok("key", "create", "tests").strip()
    with command.started("api"), command.started("scheduler"):
        assert wait_until(lambda: "http://127.0.0.1:" in command.told("api"), START_S), command.told("api")
        address = command.told("api").split("http://127.0.0.1:")[1].split("/")[0]
        command.environment["TASKMILL_API_URL"] = f"http://127.0.0.1:{address}"
        assert wait_until(lambda: command.run("task", "list").returncode == 0, START_S), command.told("api")
        yield command


@pytest.mark.parametrize(("kind", "code"), [("try.stubborn", 0), ("try.executor", 0), ("try.block", EXIT_STUCK)])
def test_a_handler_that_does_not_end_keeps_no_worker(command: Command, kind: str, code: int) -> None:
    with command.started("worker") as process:
        command.ok("task", "submit", kind)
        assert wait_until(lambda: "inside" in command.told("worker"), START_S), command.told("worker")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == code, command.told("worker")
        assert time.monotonic() - began < (GRACE_S + cc.END_MARGIN_S + 2) * slowness()
    if code == 0:
        row = json.loads(command.ok("task", "list", "-o", "json"))["items"][0]
        assert (row["state"], row["attempt"], row["crash_count"]) == ("available", 0, 0)


def test_an_exit_in_a_child_task_leaves_a_worker_that_works(command: Command) -> None:
    with command.started("worker") as process:
        for _ in range(4):
            ended = command.run("task", "submit", "try.exit", "--wait", "-o", "json")
            assert json.loads(ended.stdout)["state"] == "discarded"
        assert json.loads(command.ok("task", "submit", "try.echo", "--wait", "-o", "json"))["state"] == "completed"
        assert process.poll() is None
        told = command.told("worker")
        assert told.count("尝试失败") == told.count("任务已作废") == 4
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0, command.told("worker")


def test_a_database_that_answers_nothing_keeps_no_role(
    tmp_path: Path, own_postgres: PostgresFactory, broker_url: str
) -> None:
    server = own_postgres()
    command = made(tmp_path, server.url, broker_url)
    with ExitStack() as stack:
        roles = {role: stack.enter_context(command.started(role)) for role in READY}
        for role, word in READY.items():
            assert wait_until(lambda role=role, word=word: word in command.told(role), START_S), command.told(role)
        server.pause()
        stack.callback(server.resume)
        began = time.monotonic()
        for process in roles.values():
            process.send_signal(signal.SIGTERM)
        codes = {role: process.wait(START_S) for role, process in roles.items()}
        took = time.monotonic() - began
    assert took < (c.SHUTDOWN_GRACE_S + cc.END_MARGIN_S + 2) * slowness(), took
    assert set(codes.values()) <= {0, 1, 5, EXIT_STUCK}, codes
