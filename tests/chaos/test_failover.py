"""The primary is lost and its standby is promoted: every role goes on with the other host of its URL, and nothing is lost.

The standby is synchronous, so what was acknowledged is what it has.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from taskmill.dev.process_table import wait_until
from tests.conftest import PostgresFactory, ValkeyFactory
from tests.support.command import Command
from tests.support.databases import execute, in_thread
from tests.support.standby import Standby, both, can_stand_by
from tests.support.waiting import slowness

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_stand_by(), reason="these PostgreSQL binaries have no pg_basebackup"),
]

SERVING_S = 20.0  # docs/concepts/waits.md：能建新连接之后这么久，每个角色都恢复工作
START_S, WAIT_S = 120.0, 120.0
PLUGIN = '''
from taskmill import hookimpl, task
from taskmill.plugin import Manifest

@task("try.echo")
async def echo(n: int = 0) -> int:
    """Return what it was given."""
    return n

@hookimpl
def taskmill_manifest():
    return Manifest(name="tryout", version="1", requires_api=">=1,<2", title_en="t", title_zh="t", summary_en="s", summary_zh="s")

@hookimpl
def taskmill_register(registry):
    registry.add(echo)
'''


class Load:
    """Submits one task after another on a thread, and remembers the ids that the API acknowledged, with the time."""

    def __init__(self, client: httpx2.Client) -> None:
        self.accepted: dict[str, float] = {}
        self._client = client
        self._stop = threading.Event()

    def submit(self, **more: Any) -> str | None:
        """Submit one task; None if it was not acknowledged."""
        try:
            answer = self._client.post("/api/v1/tasks", json={"kind": "try.echo", **more})
        except httpx2.HTTPError:
            return None
        if not answer.is_success:
            return None
        task_id: str = answer.json()["data"]["id"]
        self.accepted[task_id] = time.monotonic()
        return task_id

    @contextmanager
    def going(self) -> Iterator[None]:
        def run() -> None:
            while not self._stop.wait(0.02):
                self.submit()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def rows(url: str, query: str, *args: Any) -> list[Any]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    return in_thread(ask())


def is_completed(url: str, task_id: str | None) -> bool:
    return bool(rows(url, "select from taskmill.task_history where id = $1 and state = 'completed'", task_id))


@pytest.mark.parametrize("end", ["killed", "frozen"])
def test_every_role_goes_on_with_the_promoted_standby(
    own_postgres: PostgresFactory, own_valkey: ValkeyFactory, server_root: Path, tmp_path: Path, end: str
) -> None:
    primary = own_postgres()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="standby-", dir=server_root))
        standby = stack.enter_context(Standby(folder, primary))
        in_thread(execute(primary.url, "alter system set synchronous_standby_names = '*'", "select pg_reload_conf()"))
        in_step = "select from pg_stat_replication where sync_state = 'sync'"
        assert wait_until(lambda: bool(rows(primary.url, in_step)), START_S)
        (tmp_path / "tryout_plugin.py").write_text(PLUGIN)
        command = Command(
            tmp_path, DATABASE_URL=both(primary, standby), BROKER_URL=own_valkey().url, API_PORT="0",
            PLUGIN_MODULES="tryout_plugin", PLUGINS_ALLOW="tryout",
        )  # fmt: skip
        command.environment["PYTHONPATH"] = str(tmp_path)
        key = command.ok("key", "create", "tests").strip()
        for role in ("api", "worker", "scheduler"):
            stack.enter_context(command.started(role))
        assert wait_until(lambda: "/api/v1" in command.told("api"), START_S), command.told("api")
        address = re.search(r"http://127\.0\.0\.1:\d+", command.told("api"))
        assert address is not None
        client = stack.enter_context(
            httpx2.Client(base_url=address[0], headers={"Authorization": f"Bearer {key}"}, timeout=30)
        )
        load = Load(client)
        before = load.submit(delay_s=1)  # 走过调度器与工作进程，三个角色就都在了
        assert wait_until(lambda: is_completed(primary.url, before), START_S), command.told("worker")
        with load.going():
            assert wait_until(lambda: len(load.accepted) >= 50, WAIT_S)
            primary.kill() if end == "killed" else primary.pause()
            standby.promote()
            promoted = time.monotonic()
            after: list[str | None] = [None]

            def serves() -> bool:
                after[0] = after[0] or load.submit(delay_s=0.5)
                return after[0] is not None and is_completed(standby.url, after[0])

            assert wait_until(serves, WAIT_S), command.told("api")
            took = time.monotonic() - promoted
        waiting = "select count(*) as n from taskmill.tasks"
        assert wait_until(lambda: rows(standby.url, waiting)[0]["n"] == 0, WAIT_S), command.told("worker")
        final = {
            str(row["id"]) for row in rows(standby.url, "select id from taskmill.task_history where state = 'completed'")
        }
        lost = load.accepted.keys() - final
        sys.stdout.write(
            f"\n{end}: all roles at work {took:.1f} s after the promotion, {len(load.accepted)} acknowledged, {len(lost)} lost\n"
        )
        if end == "frozen":
            primary.resume()
        assert lost == set()
        assert took <= SERVING_S * slowness()
