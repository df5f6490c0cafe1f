"""`taskmill dev`: the demo works, Ctrl-C leaves nothing behind, a power cut loses nothing."""

from __future__ import annotations

import signal
import subprocess

import pytest

from taskmill.dev.process_table import wait_until
from tests.e2e.conftest import TASKMILL, Dev
from tests.support.children import tied
from tests.support.waiting import slowness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DEMO_S = 120.0
STOP_S = 10.0  # 承诺：Ctrl-C 之后十秒内停下
SECOND_START_S = 5.0  # 承诺：第二次启动不超过五秒
FINISH_S = 90.0


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
    done = subprocess.run(
        tied(TASKMILL, "dev", "--demo", "--exit", death=signal.SIGTERM), cwd=dev.folder, env=dev.environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=DEMO_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("http.request", "email.send", "shell.run", "completed", "/schema"):
        assert word in done.stdout
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
    done = subprocess.run(
        tied(TASKMILL, "dev", death=signal.SIGTERM), cwd=dev.folder, env=dev.environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=DEMO_S, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"in use by process {owner.pid}" in done.stdout + done.stderr
    assert dev.alive
