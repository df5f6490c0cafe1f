"""Roles whose login PostgreSQL refuses for a while: they wait, say why, and go on by themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2
import pytest

from taskmill.dev.process_table import wait_until
from tests.support.command import Command
from tests.support.databases import execute, in_thread
from tests.support.roles import as_role, temporary_role

pytestmark = pytest.mark.timeout(400)
WAIT_S = 90.0
ROLES = ("api", "worker", "scheduler")
PLUGIN = '''
from taskmill import hookimpl, task
from taskmill.plugin import Manifest

@task("try.echo")
async def echo(text: str = "") -> str:
    """Return what it was given."""
    return text

@hookimpl
def taskmill_manifest():
    return Manifest(name="tryout", version="1", requires_api=">=1,<2", title_en="t", title_zh="t", summary_en="s", summary_zh="s")

@hookimpl
def taskmill_register(registry):
    registry.add(echo)
'''


def test_a_login_that_is_refused_and_given_back(tmp_path: Path, database_url: str, broker_url: str) -> None:
    (tmp_path / "tryout_plugin.py").write_text(PLUGIN)
    grants = ("grant all on schema taskmill to {role}", "grant all on all tables in schema taskmill to {role}")
    in_thread(execute(database_url, "create table taskmill.task_history_tests partition of taskmill.task_history default"))
    with temporary_role(database_url, *grants) as role:
        command = Command(
            tmp_path,
            DATABASE_URL=as_role(database_url, role),
            BROKER_URL=broker_url,
            API_PORT="0",
            PLUGIN_MODULES="tryout_plugin",
            PLUGINS_ALLOW="tryout",
        )
        command.environment["PYTHONPATH"] = str(tmp_path)
        command.environment["TASKMILL_API_TOKEN"] = command.ok("key", "create", "tests").strip()
        with command.started("api") as api, command.started("worker") as worker, command.started("scheduler") as scheduler:
            assert wait_until(lambda: "/api/v1" in command.told("api"), WAIT_S), command.told("api")
            assert wait_until(lambda: "工作进程开始领取任务" in command.told("worker"), WAIT_S), command.told("worker")
            address = re.search(r"http://127\.0\.0\.1:\d+", command.told("api"))
            assert address is not None
            url = command.environment["TASKMILL_API_URL"] = address[0]
            command.ok("task", "submit", "try.echo", "--wait")
            ended = f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"
            in_thread(execute(database_url, f"alter role {role} nologin", ended))

            def refused() -> bool:
                answer = httpx2.get(f"{url}/readyz")
                return answer.status_code == 503 and "authentication failed" in answer.json()["message"]["en"]

            assert wait_until(refused, WAIT_S), command.told("api")
            assert command.run("task", "submit", "try.echo").returncode == 5
            for name in ("worker", "scheduler"):
                assert wait_until(lambda name=name: "is not permitted to log in" in command.told(name), WAIT_S), (
                    command.told(name)
                )
            in_thread(execute(database_url, f"alter role {role} login"))
            assert wait_until(lambda: httpx2.get(f"{url}/readyz").status_code == 200, WAIT_S), command.told("api")
            done = json.loads(command.ok("task", "submit", "try.echo", "--args", '{"text": "x"}', "--wait", "-o", "json"))
            assert done["state"] == "completed"
            assert [process.poll() for process in (api, worker, scheduler)] == [None, None, None]
        for name in ROLES:
            assert "Traceback" not in command.told(name), command.told(name)
