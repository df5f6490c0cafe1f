"""Servers that are killed and come back under running roles: these say so in single lines, and nobody else says anything."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from taskmill.dev.process_table import wait_until
from tests.conftest import PostgresFactory, ValkeyFactory
from tests.support.command import Command

pytestmark = pytest.mark.timeout(400)
WAIT_S = 90.0
READY = {"api": "接口地址", "worker": "工作进程开始领取任务", "scheduler": "调度器已启动"}
PACE_S = 0.05
WORDS = re.compile(r"(?i)refused|reset|clos|terminat|lost|starting up|shutting down|recovery|loading")
PLUGIN = '''
import asyncio, time
from taskiq import TaskiqDepends
from taskmill import Discard, TaskContext, hookimpl, task
from taskmill.plugin import Manifest

@task("try.nap")
async def nap(ms: int = 50) -> int:
    """Sleep on the loop."""
    await asyncio.sleep(ms / 1000)
    return ms

@task("try.work")
def work(ms: int = 50) -> int:
    """Sleep in a thread."""
    time.sleep(ms / 1000)
    return ms

@task("try.parent")
async def parent(ctx: TaskContext) -> str:
    """Submit another task."""
    return str(await ctx.submit("try.nap"))

def dependency() -> int:
    return 1

@task("try.taskiq")
async def through_taskiq(n: int = TaskiqDepends(dependency)) -> None:
    """Fail behind taskiq."""
    raise Discard("no use")

@hookimpl
def taskmill_manifest():
    return Manifest(name="tryout", version="1", requires_api=">=1,<2", title_en="t", title_zh="t", summary_en="s", summary_zh="s")

@hookimpl
def taskmill_register(registry):
    registry.add(nap, work, parent, through_taskiq)
'''


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command line with a plugin, its logs one JSON object for each line."""
    (tmp_path / "tryout_plugin.py").write_text(PLUGIN)
    settings = {"API_PORT": "0", "PLUGIN_MODULES": "tryout_plugin", "PLUGINS_ALLOW": "tryout", "LOG_FORMAT": "json"}
    command = Command(tmp_path, **settings)
    command.environment["PYTHONPATH"] = str(tmp_path)
    return command


def test_roles_tell_of_killed_servers_in_single_lines(
    command: Command, own_postgres: PostgresFactory, own_valkey: ValkeyFactory
) -> None:
    servers = {"PostgreSQL": own_postgres(), "Valkey": own_valkey()}
    command.environment["TASKMILL_DATABASE_URL"] = servers["PostgreSQL"].url
    command.environment["TASKMILL_BROKER_URL"] = servers["Valkey"].url
    token = command.ok("key", "create", "tests").strip()
    with ExitStack() as stack:
        roles = {role: stack.enter_context(command.started(role)) for role in READY}
        for role, word in READY.items():
            assert wait_until(lambda role=role, word=word: word in command.told(role), WAIT_S), command.told(role)
        with client(command, token) as api, load(api):
            assert wait_until(lambda: completes(api), WAIT_S)
            for name, server in servers.items():
                before = {role: len(command.told(role)) for role in READY}
                server.kill()
                for role, past in before.items():
                    told = wait_until(lambda role=role, past=past: tells(command.told(role)[past:]), WAIT_S)
                    assert told, f"{role} says nothing of {name}"
                server.restart()
                assert wait_until(lambda: completes(api), WAIT_S), command.told("worker")
        for process in roles.values():
            process.send_signal(signal.SIGTERM)
        assert {role: process.wait(WAIT_S) for role, process in roles.items()} == dict.fromkeys(READY, 0)
    for role in READY:
        assert "Traceback" not in command.told(role)
        for line in lines(command, role):
            assert not {"exception", "stack", "exc_info"} & set(line), line
            if line["level"] not in {"debug", "info"}:
                assert not any("\n" in value for value in line.values() if isinstance(value, str)), line
                assert line["logger"].startswith("taskmill."), line


def client(command: Command, token: str) -> httpx2.Client:
    """A client of the API that has said where it is."""
    address = re.search(r"http://127\.0\.0\.1:\d+", command.told("api"))
    assert address is not None
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.Client(base_url=address[0], headers=headers, trust_env=False, timeout=WAIT_S)


def lines(command: Command, role: str) -> list[dict[str, Any]]:
    """What a role has logged: nothing that is not one whole object a line; the last one may be half written."""
    return [json.loads(line) for line in command.told(role).splitlines(keepends=True) if line.endswith("\n")]


def tells(told: str) -> bool:
    """Whether there is a warning or an error with a server's words; nothing is decoded, this is asked often."""
    grave = [line for line in told.splitlines() if '"level":"warning"' in line or '"level":"error"' in line]
    return any(WORDS.search(line.partition('"error":')[2]) for line in grave)


def completes(api: httpx2.Client) -> bool:
    """Whether a task that is submitted now is run."""
    made = api.post("/api/v1/tasks", json={"kind": "try.parent"})
    if made.status_code != httpx2.codes.CREATED:
        return False
    path = f"/api/v1/tasks/{made.json()['data']['id']}"

    def done() -> bool:
        answer = api.get(path)
        return answer.is_success and answer.json()["data"]["state"] == "completed"

    return wait_until(done, WAIT_S)


@contextmanager
def load(api: httpx2.Client) -> Iterator[None]:
    """Requests of every sort, and tasks of every sort under way, all the time; each is answered."""
    stop = threading.Event()
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/api/v1/tasks", {"kind": "try.nap"}),
        ("POST", "/api/v1/tasks", {"kind": "try.work", "args": {"ms": 300}}),
        ("POST", "/api/v1/tasks", {"kind": "try.taskiq"}),
        ("GET", "/api/v1/tasks?page_size=10", None),
        ("GET", "/api/v1/queues", None),
        ("GET", "/readyz", None),
        ("GET", "/metrics", None),
    ]

    def ask(method: str, path: str, body: Any) -> set[int]:
        seen = set[int]()
        while not stop.wait(PACE_S):
            seen.add(api.request(method, path, json=body).status_code)
        return seen

    with ThreadPoolExecutor(len(calls)) as pool:
        asking = [pool.submit(ask, *call) for call in calls]
        try:
            yield
        finally:
            stop.set()
        for call, each in zip(calls, asking, strict=True):
            assert each.result() <= {200, 201, 503}, call
