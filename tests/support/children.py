"""Children of a test that cannot outlive it: the kernel ends them when pytest dies, whatever it died of (Linux)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from taskmill.dev.spawn import LAUNCHER


def tied(*command: str | Path, death: signal.Signals = signal.SIGKILL) -> Sequence[str]:
    """Return `command` behind the launcher that asks the kernel for `death` when this process ends.

    Start it from the main thread: the kernel counts the end of the starting thread as the end of the parent.
    """
    shim = [sys.executable, "-I", "-S", str(LAUNCHER), str(int(death)), str(os.getpid()), "-"]
    return [*shim, *(str(part) for part in command)]
