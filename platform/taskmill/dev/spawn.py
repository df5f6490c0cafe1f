"""Start a server as our own child that dies with us, in a session of its own so that Ctrl-C doesn't reach it."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from signal import Signals

    from taskmill.dev.account import Account

    Start: TypeAlias = Callable[[], subprocess.Popen[bytes]]
    Job: TypeAlias = tuple[Start, Future[subprocess.Popen[bytes]]]

LAUNCHER = Path(__file__).with_name("launcher.py")


class Spawner:
    """A thread that lives as long as the process.

    The kernel sends the death signal when the *thread* that started the child ends, so a server started from a
    short-lived thread would die with that thread.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._owner = 0

    def run(self, start: Start) -> subprocess.Popen[bytes]:
        """Call `start` in the spawner's thread and return what it returns or raise what it raises."""
        with self._guard:
            # fork 出的子进程里没有这个线程，按进程号重建
            if self._owner != os.getpid():
                self._jobs = queue.SimpleQueue()
                self._owner = os.getpid()
                threading.Thread(target=self._loop, args=(self._jobs,), name="spawner", daemon=True).start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((start, future))
        return future.result()

    @staticmethod
    def _loop(jobs: queue.SimpleQueue[Job]) -> None:
        while True:
            start, future = jobs.get()
            try:
                future.set_result(start())
            except BaseException as error:  # noqa: BLE001 - 原样交给等待的线程
                future.set_exception(error)


_SPAWNER = Spawner()


def spawn(
    command: Sequence[str], *, log: IO[bytes], death_signal: Signals, account: Account | None
) -> subprocess.Popen[bytes]:
    """Start `command` with its output in `log`; `death_signal` reaches it when this process dies (Linux).

    `account` is the user to run as, None for our own. Raises OSError if the interpreter cannot be started.
    """
    who = "-" if account is None else f"{account.uid}:{account.gid}"
    shim = [sys.executable, "-I", "-S", str(LAUNCHER), str(int(death_signal)), str(os.getpid()), who]
    return _SPAWNER.run(
        lambda: subprocess.Popen(  # noqa: S603 - 命令由本项目拼成
            [*shim, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=server_environment(),
            start_new_session=True,
        )
    )


def server_environment() -> dict[str, str]:
    """Return the environment of a server: none of the PG* variables, which would change what it does."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LD_LIBRARY_PATH", "TMPDIR"}}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
