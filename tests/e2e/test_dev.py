"""`taskmill dev`: the demo works, Ctrl-C leaves nothing behind, a power cut loses nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskmill import constants as c
from taskmill.cli import constants as cc
from taskmill.cli import ending
from taskmill.dev.process_table import wait_until
from tests.e2e.conftest import TASKMILL, Dev
from tests.support import ledger_plugin
from tests.support.children import tied
from tests.support.waiting import slowness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DEMO_S = 120.0
STOP_S = 10.0  # 承诺：Ctrl-C 之后十秒内停下
SECOND_START_S = 5.0  # 承诺：第二次启动不超过五秒
FINISH_S = 90.0
CHINESE = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")


def submit(dev: Dev) -> str:
    """Submit a task that asks the platform for its own health, and return its id."""
    with dev.api() as api:
        url = str(api.base_url.join("/healthz"))
        answer = api.post("/tasks", json={"kind": "http.request", "args": {"method": "GET", "url": url}})
        assert answer.is_success, answer.text
        return str(answer.json()["data"]["id"])


def state_of(dev: Dev, task_id: str) -> str:
    """Return the state of a task."""
    with dev.api() as api:
        return str(api.get(f"/tasks/{task_id}").json()["data"]["state"])


def test_the_demo_completes_and_ends_with_zero(dev: Dev) -> None:
    done = run(dev, "dev", "--demo", "--exit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not CHINESE.search(done.stdout + done.stderr), done.stdout + done.stderr
    logged = (dev.folder / ".taskmill" / "logs" / "taskmill.log").read_text("utf-8")
    assert [line for line in logged.splitlines() if CHINESE.search(json.loads(line)["event"])] == []
    for word in ("http.request", "email.send", "shell.run", "completed", "/schema"):
        assert word in done.stdout
    *_, frame, about = done.stdout.splitlines()
    assert (frame.endswith("┘"), "is one task (unique)" in about) == (True, True)
    assert done.stdout.count("email.send") == 1
    assert dev.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_stops_everything_in_time(dev: Dev, number: signal.Signals) -> None:
    dev.start("--demo")
    assert dev.run_json.stat().st_mode & 0o777 == 0o600
    assert len(dev.processes()) > 1
    assert dev.signal(number, within=STOP_S) == 0, dev.told()
    assert dev.processes() == []
    assert not dev.run_json.exists()
    assert "Traceback" not in dev.told()
    assert dev.told().splitlines()[-2:] == ["stopping …", "stopped"]


DEAF = """
import time
from pathlib import Path
from taskmill import hookimpl, task
from taskmill.plugin import Manifest

@task("deaf.sleep")
async def sleep() -> None:
    Path("asleep").touch()
    time.sleep(600)

@hookimpl
def taskmill_manifest():
    return Manifest(name="deaf", version="1", requires_api=">=1,<2", title_en="t", title_zh="t", summary_en="s", summary_zh="s")

@hookimpl
def taskmill_register(registry):
    registry.add(sleep)
"""


def test_a_handler_that_blocks_the_loop_does_not_make_it_deaf_to_signals(dev: Dev) -> None:
    (dev.folder / "deaf_plugin.py").write_text(DEAF)
    dev.extra = {"PYTHONPATH": str(dev.folder), "TASKMILL_PLUGIN_MODULES": "deaf_plugin"}
    dev.start()
    with dev.api() as api:
        assert api.post("/tasks", json={"kind": "deaf.sleep"}).is_success
    assert wait_until((dev.folder / "asleep").exists, FINISH_S), dev.told()
    assert dev.process is not None
    dev.process.send_signal(signal.SIGTERM)  # 不隔开：内核把第二个信号交给另一个线程
    assert dev.signal(signal.SIGINT, within=cc.END_HURRY_S + STOP_S) == ending.EXIT_STUCK, dev.told()
    assert wait_until(lambda: dev.processes() == [], FINISH_S)


def test_after_a_power_cut_the_tasks_of_before_are_there(dev: Dev) -> None:
    dev.timed = True
    dev.start("--demo")
    finished = submit(dev)
    assert wait_until(lambda: state_of(dev, finished) == "completed", FINISH_S), dev.told()
    dev.kill_all()
    assert dev.start("--demo") < SECOND_START_S * slowness()
    assert state_of(dev, finished) == "completed"
    again = submit(dev)
    assert wait_until(lambda: state_of(dev, again) == "completed", FINISH_S), dev.told()


def test_a_second_start_in_the_same_folder_is_refused_with_the_owner(dev: Dev) -> None:
    dev.start()
    owner = dev.process
    assert owner is not None
    done = run(dev, "dev")
    assert done.returncode == 1
    url = json.loads(dev.run_json.read_text())["api_url"]
    assert f"runs in this folder already: process {owner.pid}, API at {url}" in done.stderr
    assert "stopped" not in done.stdout
    assert dev.alive


def run(dev: Dev, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command in the folder of `taskmill dev`, with nothing set but `settings`."""
    return subprocess.run(
        tied(TASKMILL, *arguments), cwd=dev.folder, env={**dev.environment(), "LANG": "C", **settings}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=DEMO_S, check=False,
    )  # fmt: skip


def test_keys_on_the_dev_database_leave_make_run_working(dev: Dev) -> None:
    dev.start()
    # 服务器的地址由 run.json 找到
    made = run(dev, "key", "create", "mine")
    assert made.returncode == 0, made.stderr
    assert "run.json" in made.stderr
    assert run(dev, "migrate", "status").returncode == 0
    assert "✓ schedulers" in run(dev, "doctor").stdout
    listed = run(dev, "key", "list").stdout
    assert run(dev, "key", "revoke", listed.splitlines()[1].split()[0]).returncode == 0
    assert dev.signal(signal.SIGINT, within=STOP_S) == 0, dev.told()
    done = run(dev, "dev", "--demo", "--exit")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_port_that_is_taken_is_one_good_line_and_nothing_was_touched(dev: Dev) -> None:
    for name in ("TASKMILL_API_PORT", "TASKMILL_WORKER_HEALTH_PORT", "TASKMILL_SCHEDULER_HEALTH_PORT"):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = run(dev, "dev", "--demo", **{name: port, "TASKMILL_BIND_HOST": "127.0.0.1"})
        assert done.returncode == 2
        told = (done.stdout + done.stderr).splitlines()
        assert len(told) == 2, told
        assert name in told[0]
        assert port in told[0]
        assert not (dev.folder / ".taskmill").exists()


def test_a_default_port_that_is_taken_is_said(dev: Dev) -> None:
    environment = dev.environment()
    del environment["TASKMILL_API_PORT"]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # 已经有人占着，也一样
            stack.enter_context(socket.create_server(("127.0.0.1", c.API_PORT)))
        done = subprocess.run(
            tied(TASKMILL, "dev", "--exit", death=signal.SIGTERM), cwd=dev.folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=DEMO_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"port {c.API_PORT} is taken, the API is at " in done.stdout


def test_the_tables_of_plugins_are_made(dev: Dev) -> None:
    settings = ledger_plugin.write(dev.folder)
    dev.extra = settings
    dev.start()
    found = run(dev, "migrate", "status", "-o", "json", **settings)
    assert {chain["chain"]: chain["state"] for chain in json.loads(found.stdout)} == {"taskmill": "ok", "ledger": "ok"}
    done = run(dev, "task", "submit", "ledger.note", "--wait", "-o", "json")
    assert json.loads(done.stdout)["result"] == "noted", done.stderr


@contextlib.contextmanager
def following(dev: Dev, heard: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Submit a task that is due in two hours and follow it, until it waits; killed at the end if it still does."""
    command = tied(TASKMILL, "task", "submit", "shell.run", "--args", '{"argv": ["/bin/true"]}', "--in", "2h", "--wait")
    with heard.open("w") as output:
        waiting = subprocess.Popen(
            command, cwd=dev.folder, env={**dev.environment(), "LANG": "C"}, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        assert wait_until(lambda: "NOT_DUE" in heard.read_text(), FINISH_S), heard.read_text()
        yield waiting
    finally:
        waiting.kill()
        waiting.wait()


def test_who_follows_a_task_survives_a_restart_of_the_api_and_keeps_the_id_on_ctrl_c(dev: Dev) -> None:
    dev.start()
    heard = dev.folder / "heard.txt"
    with following(dev, heard) as waiting:
        assert dev.signal(signal.SIGTERM, within=STOP_S) == 0, dev.told()
        assert wait_until(lambda: "still waiting" in heard.read_text(), FINISH_S), heard.read_text()
        dev.start()  # 令牌与端口都换了
        task_id = re.search(r"submitted (\S+)", heard.read_text())
        assert task_id is not None
        assert run(dev, "task", "cancel", task_id[1]).returncode == 0
        assert waiting.wait(FINISH_S) == 1, heard.read_text()
    assert "cancelled" in heard.read_text()
    with following(dev, heard) as waiting:
        os.killpg(waiting.pid, signal.SIGINT)
        assert waiting.wait(FINISH_S) == 130, heard.read_text()
    task_id = re.search(r"submitted (\S+)", heard.read_text())
    assert task_id is not None
    assert f"taskmill task watch {task_id[1]}" in heard.read_text()
