"""The roles as real processes, and the nouns over REST against them."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from taskmill.dev.process_table import wait_until
from tests.support.command import Command
from tests.support.databases import execute, in_thread

pytestmark = pytest.mark.timeout(400)

START_S = 90.0
STOP_S = 60.0
PLUGIN = '''
from taskmill import Discard, TaskContext, hookimpl, task
from taskmill.plugin import Manifest

@task("try.echo")
async def echo(text: str = "") -> str:
    """Return what it was given."""
    return text

@task("try.fail")
async def fail() -> None:
    """Fail for good."""
    raise Discard("no use")

@task("try.flaky")
async def flaky(ctx: TaskContext) -> str:
    """Fail once, with a text that would turn the terminal red."""
    if ctx.attempt == 1:
        raise ValueError("first \\x1b[31m try")
    return "fine"

@hookimpl
def taskmill_manifest():
    return Manifest(name="tryout", version="1", requires_api=">=1,<2", title_en="t", title_zh="t", summary_en="s", summary_zh="s")

@hookimpl
def taskmill_register(registry):
    registry.add(echo, fail, flaky)
'''


@pytest.fixture
def command(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[Command]:
    """The command line next to running api, worker and scheduler."""
    (tmp_path / "tryout_plugin.py").write_text(PLUGIN)
    command = Command(
        tmp_path,
        DATABASE_URL=database_url,
        BROKER_URL=broker_url,
        API_PORT="0",
        PLUGIN_MODULES="tryout_plugin",
        PLUGINS_ALLOW="tryout",
    )
    command.environment["PYTHONPATH"] = str(tmp_path)
    command.ok("migrate", "up")
    command.environment["TASKMILL_API_TOKEN"] = command.ok("key", "create", "tests").strip()
    with command.started("api"), command.started("worker"), command.started("scheduler"):
        found = wait_until(lambda: "/api/v1" in command.told("api"), START_S)
        assert found, command.told("api")
        address = re.search(r"http://127\.0\.0\.1:\d+", command.told("api"))
        assert address is not None
        command.environment["TASKMILL_API_URL"] = address[0]
        up = wait_until(lambda: command.run("task", "list").returncode == 0, START_S)
        assert up, command.told("api")
        yield command


def test_a_task_from_submit_to_result(command: Command) -> None:
    done = json.loads(command.ok("task", "submit", "try.echo", "--args", '{"text": "你好"}', "--wait", "-o", "json"))
    assert done["state"] == "completed"
    assert json.loads(command.ok("task", "result", done["id"], "-o", "json"))["result"] == "你好"
    assert command.ok("task", "list", "--state", "completed", "-o", "name").split() == [done["id"]]
    assert command.run("task", "cancel", done["id"]).returncode == 4
    unknown = str(uuid4())
    assert command.run("task", "show", unknown).returncode == 3
    assert command.run("task", "retry", done["id"], unknown).returncode == 6
    failed = command.run("task", "submit", "try.fail", "--wait", "-o", "json")
    assert (failed.returncode, json.loads(failed.stdout)["state"]) == (1, "discarded")
    assert "no use" in failed.stderr


def test_what_people_see_of_a_task(command: Command) -> None:
    done = command.run("task", "submit", "try.flaky", "--wait")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert rows["RESULT"].endswith("fine")
    assert "ERROR" not in rows
    assert "first" in rows["EARLIER_ERROR"]
    task_id = rows["ID"].split()[1]
    assert f"submitted {task_id}" in done.stderr
    assert "first" not in command.ok("task", "list")
    attempts = command.ok("task", "attempts", task_id)
    assert '\n  File "' in attempts
    assert "ValueError: first \\x1b[31m try" in attempts
    assert "\x1b" not in done.stdout + done.stderr + attempts
    both = command.run("task", "submit", "try.echo", "--in", "1h", "--at", "2100-01-01T00:00:00")
    assert "--in: give --at or --in" in both.stderr
    assert "taskmill task submit --help" in both.stderr
    alone = command.run("task", "submit", "try.echo", "--queue", "lonely", "--wait", "--wait-timeout", "1s", "-o", "name")
    assert alone.returncode == 124
    assert "NO_WORKER" in alone.stderr
    assert "NO_WORKER" in command.ok("task", "show", alone.stdout.strip())
    for option, mistaken, meant in (("--kind", "try.ecko", "try.echo"), ("--queue", "lonly", "lonely")):
        assert f"nobody registered {mistaken}. did you mean {meant}?" in command.run("task", "list", option, mistaken).stderr
        assert command.run("task", "list", option, mistaken, "-o", "json").stderr == ""
    assert "nobody registered" not in command.run("task", "list", "--kind", "try.fail").stderr


def test_the_list_of_workers_says_when_no_scheduler_lives(command: Command) -> None:
    """Whoever wonders why tasks do not start looks at the workers first; programs get the API's data and nothing else."""
    said = "no scheduler lives"
    assert wait_until(lambda: said not in command.run("node", "list").stderr, START_S)
    in_thread(execute(command.environment["TASKMILL_DATABASE_URL"], "update taskmill.schedulers set lease_until = now() - interval '1 s'",
                      "alter table taskmill.schedulers add constraint nobody check (lease_until < now()) not valid"))  # fmt: skip
    for form, told in (("table", True), ("wide", True), ("json", False), ("name", False)):
        assert (said in command.run("node", "list", "-o", form).stderr) == told, form


def test_waiting_tasks_and_paused_queues(command: Command) -> None:
    waiting = command.ok("task", "submit", "try.echo", "--in", "1h", "-o", "name").strip()
    late = command.run("task", "watch", waiting, "--timeout", "500ms", "-o", "name")
    assert (late.returncode, late.stdout.strip()) == (124, waiting)
    assert command.run("task", "result", waiting).returncode == 4
    assert json.loads(command.ok("task", "cancel", waiting, "-o", "json"))["state"] == "cancelled"
    assert json.loads(command.ok("queue", "pause", "default", "-o", "json"))["paused"] is True
    assert json.loads(command.ok("queue", "resume", "default", "-o", "json"))["paused"] is False
    made = json.loads(command.ok("queue", "set", "fresh", "--retention", "7d", "--paused", "-o", "json"))
    assert (made["retention_s"], made["paused"]) == (7 * 86_400, True)
    made = json.loads(command.ok("queue", "set", "fresh", "--retention", "default", "--running", "-o", "json"))
    assert (made["retention_s"], made["paused"]) == (None, False)
    assert command.run("queue", "set", "fresh").returncode == 2
    tried = command.ok("--lang", "en", "queue", "set", "fresh", "--max-running", "3", "--rate-per-key", "10/1m", "--dry-run")
    assert "WOULD_HOLD" in tried
    tried = json.loads(command.ok("queue", "set", "fresh", "--max-running", "3", "--dry-run", "-o", "json"))
    assert (tried["max_running"], tried["preview"]["held"]) == (3, 0)
    assert json.loads(command.ok("queue", "show", "fresh", "-o", "json"))["max_running"] is None
    two = "\n".join(json.dumps({"kind": "try.echo", "args": {"text": text}}) for text in "ab")
    assert len(command.ok("task", "batch", "-", "-o", "name", text=two).split()) == 2
    wrong = command.run("task", "submit", "try.echo", "--args", '{"text": 1}')
    assert wrong.returncode == 2
    assert "ARGS_INVALID" in wrong.stderr
    assert command.run("task", "list", TASKMILL_API_TOKEN="tmk_wrong").returncode == 4


def test_a_real_load_is_recorded_and_simulated(command: Command) -> None:
    assert command.run("scale", "record", "default", "--out", "none.csv").returncode == 2
    many = "\n".join(json.dumps({"kind": "try.echo"}) for _ in range(130))  # 超过一页
    ids = command.ok("task", "batch", "-", "-o", "name", text=many).split()
    finished = ("task", "list", "--state", "completed", "--page-size", "1", "-o", "json")
    assert wait_until(lambda: json.loads(command.ok(*finished))["total"] == len(ids), START_S)
    assert "130 tasks" in command.ok("scale", "record", "default", "--out", "load.csv")
    rows = (command.folder / "load.csv").read_text().splitlines()
    assert len(rows) == 2 + len(ids)
    assert command.ok("scale", "record", "default", "--most", "7", "--out", "few.csv").startswith("7 ")
    found = json.loads(command.ok("scale", "simulate", "--trace", "load.csv", "-o", "json"))
    assert {row["starts"] for row in found if row["policy"] == "taskmill"} == {len(ids)}


def test_schedules_nodes_and_plugins(command: Command) -> None:
    create = ("schedule", "create", "nightly", "try.echo", "--cron", "0 8 * * *")
    assert command.ok(*create, "-o", "name").strip() == "nightly"
    again = command.run(*create)
    assert again.returncode == 4
    assert "taskmill schedule create --replace" in again.stderr
    shown = json.loads(command.ok(*create[:-1], "0 9 * * *", "--args", '{"text": "hi"}', "--replace", "-o", "json"))
    rows = {line.split()[0]: line for line in command.ok("schedule", "show", "nightly").splitlines()}
    assert shown["id"] in rows["ID"]
    assert "0 9 * * *" in rows["CRON"]
    assert '{"text": "hi"}' in rows["ARGS"]
    assert len(command.ok("schedule", "next", "nightly", "--count", "3").split()) == 3
    task_id = command.ok("schedule", "run", "nightly", "-o", "name").strip()
    assert command.ok("task", "list", "--schedule", "nightly", "-o", "name").strip() == task_id
    assert command.ok("task", "list", "--schedule", shown["id"], "-o", "name").strip() == task_id
    assert command.run("task", "list", "--schedule", "nobody").returncode == 3
    assert json.loads(command.ok("task", "watch", task_id, "-o", "json"))["state"] == "completed"
    assert command.ok("schedule", "pause", "nightly", "-o", "name").strip() == "nightly"
    assert json.loads(command.ok("schedule", "list", "-o", "json"))["items"][0]["paused"] is True
    paused = command.run("schedule", "next", "nightly")
    assert len(paused.stdout.split()) == 5
    assert "is paused" in paused.stderr
    command.ok("schedule", "resume", "nightly")
    assert "is paused" not in command.run("schedule", "next", "nightly").stderr
    for noun in ("schedule", "queue"):
        unanswered = command.run(noun, "delete", "nightly")
        assert unanswered.returncode == 130
        assert re.search(r"\[y/N\]: ?\nnobody answers; --yes", unanswered.stderr)  # 旧的 click 不留空格
    command.ok("schedule", "delete", "nightly", "--yes")
    assert command.run("schedule", "delete", "nightly", "--yes").returncode == 3
    assert json.loads(command.ok("node", "list", "-o", "json"))["items"][0]["state"] == "live"
    assert "tryout" in command.ok("plugin", "list", "-o", "name").split()
    assert set(command.ok("plugin", "kinds", "-o", "name").split()) == {"try.echo", "try.fail", "try.flaky"}
    gone = ("update taskmill.workers set kinds = array_remove(kinds, 'try.fail:1')",)
    in_thread(execute(command.environment["TASKMILL_DATABASE_URL"], *gone))
    head, *lines = (line.split() for line in command.ok("plugin", "kinds").splitlines())
    served = {line[0]: line[head.index("SERVED")] for line in lines}  # 第几列，看终端放得下几列
    assert served == {"try.echo": "yes", "try.fail": "no", "try.flaky": "yes"}
    told = command.ok("plugin", "kind", "try.echo")
    assert re.search(r"^text +no +\"\" +string ", told, re.MULTILINE), told
    assert "no args" in command.ok("plugin", "kind", "try.fail")
    assert "did you mean try.echo" in command.run("plugin", "kind", "try.ecko").stderr
    assert json.loads(command.ok("plugin", "kind", "try.echo", "-o", "json"))["args_schema"]
    assert "taskmill plugin kind try.echo" in command.run("task", "submit", "try.echo", "--args", '{"txt": 1}').stderr


@pytest.mark.parametrize("role", ["api", "worker", "scheduler"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_a_role_in_order(
    tmp_path: Path, database_url: str, broker_url: str, role: str, number: signal.Signals
) -> None:
    ready = {"api": "/api/v1", "worker": "工作进程开始领取任务", "scheduler": "调度器已启动"}[role]
    command = Command(tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url, API_PORT="0")
    with command.started(role) as process:
        assert wait_until(lambda: ready in command.told(role), START_S), command.told(role)
        process.send_signal(number)
        assert process.wait(STOP_S) == 0, command.told(role)
    assert "Traceback" not in command.told(role)
    assert "postgres" not in re.findall(r"://\w+:(\w+)@", command.told(role))
