"""Which processes are the servers of a data directory: told by their executable and their working directory.

Both servers change into their data directory, and neither fact can be mistaken for a recycled pid.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from taskmill.dev import constants

if TYPE_CHECKING:
    from collections.abc import Callable

PROC = Path("/proc")


def server_pids(executables: frozenset[str], data_dir: Path, *, hint: int | None = None) -> list[int]:
    """Return the pids of live processes named in `executables` that work in `data_dir`, the eldest first.

    Without /proc (macOS) only `hint`, the pid noted by the server, is looked at, by its name.
    """
    if not PROC.joinpath("self", "exe").exists():
        return [hint] if hint is not None and _named(hint, executables) else []
    home = str(data_dir.resolve())
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return sorted(pid for pid in pids if _is_server(pid, executables, home))


def _is_server(pid: int, executables: frozenset[str], home: str) -> bool:
    try:
        # 僵尸进程没有 exe，读它会报错，正好排除
        executable = str((PROC / str(pid) / "exe").readlink()).removesuffix(" (deleted)")
        directory = str((PROC / str(pid) / "cwd").readlink())
    except OSError:
        return False
    return directory == home and os.path.basename(executable) in executables  # noqa: PTH119 - 只取文件名


def _named(pid: int, executables: frozenset[str]) -> bool:
    command = ["/bin/ps", "-o", "comm=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - 固定的命令
    return Path(answer.stdout.strip()).name in executables


def send(pids: list[int], signal_number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll `condition` until it holds; returns False after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(constants.DEV_POLL_S)
    return True
