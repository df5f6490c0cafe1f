"""Children die with the process, not with the thread that happened to start them, and keep their own environment."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from taskmill.dev import process_table, spawn

PARENT = """
import signal, sys
from taskmill.dev.spawn import spawn
with open({log!r}, "ab") as log:
    child = spawn(["/bin/sleep", "60"], log=log, death_signal=signal.SIGKILL, account=None)
print(child.pid, flush=True)
sys.stdin.read()
"""


def is_alive(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal exists on Linux only")
def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = PARENT.format(log=str(tmp_path / "log"))
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    assert process_table.wait_until(lambda: not is_alive(child), 30)


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (tmp_path / "log").open("ab") as log:
            started.append(spawn.spawn(["/bin/cat", "/dev/stdin"], log=log, death_signal=signal.SIGKILL, account=None))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    # cat 读到空的标准输入，自己正常结束；若随线程死去，退出码会是 -SIGKILL
    assert started[0].wait(30) == 0


def test_a_child_has_its_own_session(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as log:
        command = [sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"]
        child = spawn.spawn(command, log=log, death_signal=signal.SIGKILL, account=None)
    assert child.wait(30) == 0
    assert (tmp_path / "log").read_text().strip() == "True"


def test_failures_of_the_start_reach_the_caller() -> None:
    def broken() -> subprocess.Popen[bytes]:
        message = "no such program"
        raise OSError(message)

    with pytest.raises(OSError, match="no such program"):
        spawn.Spawner().run(broken)


def test_variables_that_steer_postgres_clients_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PATH", "/bin")
    assert spawn.server_environment() == {"PATH": "/bin", "LC_ALL": "C", "TZ": "UTC"} | {
        name: value for name, value in spawn.server_environment().items() if name in {"LD_LIBRARY_PATH", "TMPDIR"}
    }
