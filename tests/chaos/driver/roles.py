"""The roles of Taskmill as processes of the command line, kept running as a supervisor would, and all that happens to them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.chaos.driver.cores import Meter
from tests.support.children import tied
from tests.support.command import TASKMILL

ROOT = Path(__file__).parents[3]
TERM_WAIT_S = 60.0  # 等到这么久就强杀；规矩是四十秒
RESTART_PAUSE_S = 0.5
POLL_S = 0.1
SAMPLE_S = 1.0


@dataclass(slots=True)
class Life:
    """One process of a role. Times are monotonic; `ended_by` is what the driver did to it, None if it ended by itself."""

    role: str
    pid: int
    log: Path
    started: float
    ended: float | None = None
    code: int | None = None
    ended_by: str | None = None
    asked_at: float | None = None
    stopped: list[tuple[float, float]] = field(default_factory=list)  # 被冻住的时段
    rss_mb: list[tuple[float, float]] = field(default_factory=list)
    meter: Meter = field(default_factory=lambda: Meter(0))


class Role:
    """A role that the supervisor starts again whenever it ends."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name, self.kind = name, name.split("-", maxsplit=1)[0]
        self.lives: list[Life] = []
        self.wanted = False
        self.busy = False  # 正被请走或换掉，看护的循环不要插手
        self._command, self._environment, self._logs = command, environment, logs
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def life(self) -> Life:
        """Return the newest process."""
        return self.lives[-1]

    def start(self) -> None:
        """Start a process; its log is a file of its own. From the main thread only."""
        path = self._logs / f"{self.name}.{len(self.lives) + 1}.log"
        self._log = path.open("wb")
        self._process = subprocess.Popen(
            tied(TASKMILL, *self._command),
            cwd=ROOT,
            env=dict(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.wanted = True
        self.lives.append(Life(self.name, self._process.pid, path, time.monotonic(), meter=Meter(self._process.pid)))

    def ended(self) -> bool:
        """Say whether the process is gone, and note it."""
        if self._process is None or self._process.poll() is None:
            return False
        if self.life.ended is None:
            self.life.ended, self.life.code = time.monotonic(), self._process.returncode
            if self._log is not None:
                self._log.close()
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self, why: str) -> None:
        """Kill it with SIGKILL."""
        if not self.ended():
            self.life.ended_by = self.life.ended_by or why
            self.send(signal.SIGKILL)

    def freeze(self) -> float:
        """Stop it with SIGSTOP; returns the time."""
        self.send(signal.SIGSTOP)
        return time.monotonic()

    def thaw(self, since: float) -> None:
        """Wake it, if it is still the process that was frozen."""
        self.send(signal.SIGCONT)
        self.life.stopped.append((since, time.monotonic()))

    async def leave(self, why: str) -> float:
        """Ask it to end (SIGTERM), wait, and kill it if it does not; returns the seconds until it was gone."""
        self.busy = True
        life, since = self.life, time.monotonic()
        life.ended_by, life.asked_at = life.ended_by or why, since
        self.send(signal.SIGTERM)
        try:
            while not self.ended():
                if time.monotonic() - since > TERM_WAIT_S:
                    self.send(signal.SIGCONT)
                    self.send(signal.SIGKILL)
                await asyncio.sleep(POLL_S)
        finally:
            self.busy = False
        return (life.ended or time.monotonic()) - since

    def sample(self) -> None:
        """Note the resident memory, and how long the process has waited for a core."""
        if self.ended():
            return
        self.life.meter.sample()
        try:
            status = Path(f"/proc/{self.life.pid}/status").read_text()
        except OSError:
            return
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, flags=re.MULTILINE)
        if found:
            self.life.rss_mb.append((time.monotonic(), int(found[1]) / 1024))


async def supervise(roles: Sequence[Role], driver: Meter) -> None:
    """Start every role again that has ended, until cancelled; note what it and the driver use now and then."""
    sampled = 0.0
    while True:
        for role in roles:
            if (
                role.wanted
                and not role.busy
                and role.ended()
                and time.monotonic() - (role.life.ended or 0) > RESTART_PAUSE_S
            ):
                role.start()
        if time.monotonic() - sampled > SAMPLE_S:
            sampled = time.monotonic()
            driver.sample()
            for role in roles:
                role.sample()
        await asyncio.sleep(POLL_S)


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of a role: none of the caller's own settings."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("TASKMILL_", "LC_", "LANG"))}
    made = {f"TASKMILL_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **made}
