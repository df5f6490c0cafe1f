"""Every role, and doctor, says at the start which setting is wrong; a plugin whose tables are behind does not run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import httpx2
import pytest

from taskmill.dev import ports
from taskmill.dev.process_table import wait_until
from tests.support import ledger_plugin
from tests.support.command import Command

START_S = 90.0
COUNTED = """
import sys, time
(Path(__file__).parent / "begun").touch()
while not (Path(__file__).parent / "go").exists():
    time.sleep(0.05)
with (Path(__file__).parent / "imported").open("a") as counted:
    counted.write(sys.argv[-1] + " ")
"""
ROLES = [("api",), ("worker",), ("scheduler",), ("operator",), ("dev",), ("migrate", "up"), ("key", "list")]


@pytest.fixture
def command(tmp_path: Path, database_url: str, broker_url: str) -> Command:
    """The command line on a migrated database."""
    return Command(tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url, API_PORT="0")


@pytest.mark.parametrize("arguments", ROLES, ids=" ".join)
def test_a_misspelt_setting_ends_every_role(command: Command, arguments: tuple[str, ...]) -> None:
    done = command.run(*arguments, TASKMILL_CONCURENCY="3")
    assert done.returncode == 2, done.stderr
    assert "did you mean TASKMILL_CONCURRENCY?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lease_shorter_than_three_heartbeats_ends_a_worker(command: Command) -> None:
    done = command.run("worker", TASKMILL_LEASE_S="3")
    assert done.returncode == 2
    assert "TASKMILL_HEARTBEAT_S" in done.stderr
    assert "TASKMILL_LEASE_S" in done.stderr


def test_doctor_says_which_setting_is_wrong(command: Command) -> None:
    done = command.run("doctor", TASKMILL_CONCURENCY="3")
    assert done.returncode == 1
    assert done.stdout.startswith("✗ settings")
    assert "TASKMILL_CONCURRENCY" in done.stdout


def test_doctor_knows_who_waits_for_whom(command: Command, database_url: str) -> None:
    command.ok("migrate", "up")

    async def wait_in(queue: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute("insert into taskmill.queues (name, paused_at, paused_by) values ('still', now(), 'ops')")
        await connection.execute(
            "insert into taskmill.tasks (id, queue, kind, args, timeout_ms, state) "
            "values (gen_random_uuid(), $1, 'no.such', '{}', 1000, 'available')",
            queue,
        )
        await connection.close()

    asyncio.run(wait_in("lonely"))
    done = command.run("doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("✗ schedulers") for line in lines), done.stdout
    assert any(line.startswith("✗ waiting tasks") and "lonely" in line for line in lines)
    assert any(line.startswith("· queue still") and "ops" in line for line in lines)
    assert any("→ taskmill worker --queue lonely" in line for line in lines)


def test_a_worker_does_not_run_a_plugin_whose_tables_are_behind(command: Command) -> None:
    port = ports.choose(None)
    files = ledger_plugin.write(command.folder)
    with (command.folder / "ledger_plugin.py").open("a") as module:
        module.write(COUNTED)
    (command.folder / "go").touch()
    command.environment |= files | {"TASKMILL_WORKER_HEALTH_PORT": str(port)}

    def answer(path: str) -> tuple[int, str]:
        try:
            got = httpx2.get(f"http://{ports.HOST}:{port}{path}", trust_env=False)
        except httpx2.TransportError:
            return 0, ""
        return got.status_code, got.text

    with command.started("worker"):
        assert wait_until(lambda: "工作进程开始领取任务" in command.told("worker"), START_S), command.told("worker")
        assert "插件的表没有迁移好" in command.told("worker")
        assert answer("/healthz")[0] == 200
        code, words = answer("/readyz")
        assert code == 503
        assert "plugin ledger: " in words
        assert "taskmill migrate up" in words
        command.ok("migrate", "up")
        assert wait_until(lambda: answer("/readyz") == (200, "ready\n"), START_S), command.told("worker")
    assert command.told("worker").count("插件的表没有迁移好") == 1
    (command.folder / "go").unlink()
    (command.folder / "begun").unlink()
    command.environment["TASKMILL_PLUGIN_START_BUDGET_S"] = "200"
    with command.started("worker"):
        assert wait_until((command.folder / "begun").exists, START_S), command.told("worker")
        assert answer("/healthz") == (200, "ok\n"), "no probe ends what the budget allows"
        assert answer("/readyz")[0] == 503
        (command.folder / "go").touch()
        assert wait_until(lambda: answer("/readyz")[0] == 200, START_S), command.told("worker")
    assert "等着的插件" not in command.told("worker")
    assert "插件的表没有迁移好" not in command.told("worker")
    imported = (command.folder / "imported").read_text()
    assert imported.split().count("worker") == 2, "each start loads it once"
