"""`taskmill dev` as a person starts it: a real process in an empty folder, nothing set."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from taskmill.dev.process_table import wait_until
from tests.support.children import tied
from tests.support.waiting import slowness

TASKMILL = Path(sys.executable).with_name("taskmill")
START_TIMEOUT_S = 120.0
PROC = Path("/proc")


class Dev:
    """One `taskmill dev` after another in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.timed = False  # 要计时的启动不测覆盖率，那会慢许多
        self.mark = f"TASKMILL_E2E={uuid4()}"
        self.extra: dict[str, str] = {}
        self.output = folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def run_json(self) -> Path:
        """The file that tells the command line where the API is."""
        return self.folder / ".taskmill" / "run.json"

    def environment(self) -> dict[str, str]:
        """Return an environment without settings, marked so that every descendant can be found."""
        name, value = self.mark.split("=")
        # 没有字节码缓存时每次启动都要重新编译，量到的就不是第二次启动
        dropped = ("TASKMILL_", "PYTHONDONTWRITEBYTECODE", *(("COVERAGE_",) if self.timed else ()))
        kept = {key: text for key, text in os.environ.items() if not key.startswith(dropped)}
        return {**kept, name: value, "LC_ALL": "C.UTF-8", "TASKMILL_API_PORT": "0", **self.extra}

    def start(self, *options: str) -> float:
        """Start, wait for the API and return the seconds that took."""
        self.run_json.unlink(missing_ok=True)
        begin = time.monotonic()
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                tied(TASKMILL, "dev", *options, death=signal.SIGTERM), cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        ready = wait_until(lambda: self.run_json.exists() or not self.alive, START_TIMEOUT_S)
        assert ready, self.told()
        assert self.alive, self.told()
        return time.monotonic() - begin

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def told(self) -> str:
        """Return everything that was printed."""
        return self.output.read_text(errors="replace")

    def signal(self, number: signal.Signals, *, within: float) -> int:
        """Send a signal and return the exit code; fails if that takes too long, by the pace of this machine."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(within * slowness())

    def api(self) -> httpx2.Client:
        """Return a client that finds the API as the command line does."""
        facts: dict[str, Any] = json.loads(self.run_json.read_text())
        headers = {"Authorization": f"Bearer {facts['token']}"}
        return httpx2.Client(base_url=f"{facts['api_url']}/api/v1", headers=headers, trust_env=False)

    def processes(self) -> list[int]:
        """Return every live process that began here: by the mark in its environment, or by its working directory."""
        return [pid for entry in PROC.iterdir() if entry.name.isdigit() and self._is_ours(pid := int(entry.name))]

    def _is_ours(self, pid: int) -> bool:
        try:
            # 僵尸没有 cwd 可读，不算活着
            directory = (PROC / str(pid) / "cwd").readlink()
            environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return directory.is_relative_to(self.folder) or self.mark.encode() in environment

    def kill_all(self) -> None:
        """SIGKILL to everything at once, as a power cut would."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        assert wait_until(lambda: not self.processes(), START_TIMEOUT_S)


@pytest.fixture
def dev() -> Iterator[Dev]:
    """An empty folder that the user of PostgreSQL can reach; whatever a failed test leaves behind is killed."""
    folder = Path(tempfile.mkdtemp(prefix="taskmill-e2e-")).resolve()
    folder.chmod(0o755)
    running = Dev(folder)
    yield running
    running.kill_all()
    shutil.rmtree(folder)
