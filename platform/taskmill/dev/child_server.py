"""What the two embedded servers have in common: one directory, one owner, start, stop and the faults of chaos tests.

    root/
    ├── lock         flock of the process that owns the server; the kernel frees it when that process dies
    ├── server.json  pid and port of the last start
    ├── server.log   output of the server
    └── data/        what the server keeps; never touched by a stop, a kill or a restart

Three lines of defence keep servers from outliving us: an exit handler, the kernel's death signal (Linux; a small
shell thaws a paused server so that the signal reaches it), and on the next start a look for leftovers that really
are servers of this directory.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import weakref
from abc import ABC, abstractmethod
from signal import Signals
from typing import IO, TYPE_CHECKING, ClassVar, Self

from taskmill.dev import constants, ports, process_table
from taskmill.dev.spawn import spawn
from taskmill.errors import Code, SetupError
from taskmill.log import get_logger
from taskmill.words import Words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from taskmill.dev.account import Account

log = get_logger(__name__)

NOT_STARTED = Words("没有启动过", "not started")
IN_USE = Words("{folder} 正由进程 {owner} 使用", "{folder} is in use by process {owner}")
NO_LOG = Words("没有日志", "no log")

# 冻结的进程收不到内核的死亡信号：主人一死管道就关，由它解冻，信号才生效
THAW = 'read -r _; kill -CONT "$@"'

_RUNNING: weakref.WeakSet[ChildServer] = weakref.WeakSet()


class ChildServer(ABC):
    """A database server that runs as our child on 127.0.0.1."""

    name: ClassVar[str]
    executables: ClassVar[frozenset[str]]
    stop_signal: ClassVar[Signals]

    def __init__(self, root: Path, *, port: int = 0, settings: Mapping[str, str] | None = None) -> None:
        self.root = root.resolve()
        self.home = self.root / "data"
        self.log_path = self.root / "server.log"
        self.settings = dict(settings or {})
        self.port = port
        self.account: Account | None = None
        self._port_is_fixed = port != 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self.owner_pid = os.getpid()
        self._thaw: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL that clients connect to."""

    @property
    def pid(self) -> int:
        """The pid of the server. Raises SetupError if it was never started."""
        if self._process is None:
            raise self._failed(NOT_STARTED)
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    # ── 生命周期 ──────────────────────────────────────────────────────────

    def start(self) -> Self:
        """Start and wait until clients are served. Raises SetupError (DEV_SERVERS_FAILED) with the end of the log."""
        if self.running:
            return self
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._acquire()
        except OSError as error:
            raise self._failed(str(error)) from error
        try:
            self._stop_leftovers()
            self._prepare()
            self._launch()
        except BaseException as error:
            self.kill()
            self._release()
            if isinstance(error, OSError):
                raise self._failed(str(error)) from error
            raise
        _RUNNING.add(self)
        return self

    def stop(self) -> None:
        """Stop fast and clean; harmless if the server is down already."""
        process = self._process
        if process is not None and process.poll() is None:
            pids = self._pids()
            process_table.send([process.pid], self.stop_signal)
            process_table.send(pids, signal.SIGCONT)  # 暂停中的进程收不到停止信号
            try:
                process.wait(constants.DEV_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                log.warning("服务器没有按时停止，强行结束", server=self.name, pid=process.pid)
                self.kill()
        self._end_thaw()
        self._release()
        _RUNNING.discard(self)

    def kill(self) -> None:
        """Kill the server and all its children at once, as a crash of the machine would; returns when they are gone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        process_table.send(self._pids(), signal.SIGKILL)
        self._process.wait()
        process_table.wait_until(lambda: not self._pids(), constants.DEV_STOP_TIMEOUT_S)

    def restart(self) -> Self:
        """Start again on the same port and data, after stopping if it still runs."""
        self.stop()
        self._port_is_fixed = True
        return self.start()

    def pause(self) -> None:
        """Freeze the server and all its children (SIGSTOP): connections stay open and nobody answers."""
        frozen: set[int] = set()
        # 先停主进程，再停子进程；反复看，直到没有新的
        while fresh := [pid for pid in [self.pid, *self._pids()] if pid not in frozen]:
            process_table.send(fresh, signal.SIGSTOP)
            frozen.update(fresh)
        self._end_thaw()
        self._thaw = subprocess.Popen(  # noqa: S603 - 固定的命令
            ["/bin/sh", "-c", THAW, "sh", *(str(pid) for pid in sorted(frozen))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def resume(self) -> None:
        """End a pause."""
        process_table.send([*self._pids(), self.pid], signal.SIGCONT)
        self._end_thaw()

    def _end_thaw(self) -> None:
        if self._thaw is not None:
            self._thaw.kill()
            self._thaw.communicate()
            self._thaw = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # ── 由具体的服务器决定 ────────────────────────────────────────────────

    @abstractmethod
    def _prepare(self) -> None:
        """备好 `self.home`；第一次启动时建数据。"""

    @abstractmethod
    def _command(self) -> list[str]:
        """返回在 `self.port` 上启动的命令行。"""

    @abstractmethod
    def _is_ready(self) -> bool:
        """客户端是否已能得到服务。"""

    # ── 内部 ──────────────────────────────────────────────────────────────

    def _acquire(self) -> None:
        if self._lock is not None:
            return
        handle = (self.root / "lock").open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            owner = handle.read().strip()
            handle.close()
            failed = self._failed(IN_USE(folder=self.root, owner=owner))
            failed.details["owner"] = owner
            raise failed from error
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._lock, self.owner_pid = handle, os.getpid()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _launch(self) -> None:
        self._read_port()
        while True:
            with self.log_path.open("ab") as output:
                if output.tell() > constants.DEV_LOG_MAX_BYTES:
                    output.truncate(0)
                process = spawn(self._command(), log=output, death_signal=self.stop_signal, account=self.account)
            self._process = process
            ready = process_table.wait_until(self._ready_or_dead, constants.DEV_START_TIMEOUT_S)
            if ready and process.poll() is None:
                break
            # 端口在检查之后被别人抢走：换一个再试
            if not self._port_is_fixed and not ports.is_free(self.port):
                self.port = ports.choose(None)
                continue
            raise self._failed(self._log_tail())
        (self.root / "server.json").write_text(json.dumps({"pid": process.pid, "port": self.port}))
        log.debug("内嵌服务器已就绪", server=self.name, pid=process.pid, port=self.port)

    def _ready_or_dead(self) -> bool:
        return not self.running or self._is_ready()

    def _read_port(self) -> None:
        if not self._port_is_fixed:
            self.port = ports.choose(self._noted("port"))

    def _noted(self, fact: str) -> int | None:
        try:
            value: object = json.loads((self.root / "server.json").read_text()).get(fact)
        except (OSError, ValueError):
            return None  # 第一次启动，或写到一半就断电
        return value if isinstance(value, int) else None

    def _pids(self) -> list[int]:
        hint = self._noted("pid") if self._process is None else self._process.pid
        return process_table.server_pids(self.executables, self.home, hint=hint)

    def _stop_leftovers(self) -> None:
        """锁在我们手里，主人已死：还活着的服务器都是上次留下的。"""
        leftovers = self._pids()
        if not leftovers:
            return
        log.warning("发现上次留下的服务器，先停掉", server=self.name, pids=leftovers)
        process_table.send(leftovers[:1], self.stop_signal)
        process_table.send(leftovers, signal.SIGCONT)
        if not process_table.wait_until(lambda: not self._pids(), constants.DEV_STOP_TIMEOUT_S):
            process_table.send(self._pids(), signal.SIGKILL)
            process_table.wait_until(lambda: not self._pids(), constants.DEV_STOP_TIMEOUT_S)

    def _log_tail(self) -> str | Words:
        with contextlib.suppress(OSError):
            lines = self.log_path.read_text(errors="replace").splitlines()
            return " | ".join(lines[-constants.DEV_LOG_TAIL_LINES :])
        return NO_LOG

    def _failed(self, reason: str | Words) -> SetupError:
        return SetupError(Code.DEV_SERVERS_FAILED, server=self.name, reason=reason, log=str(self.log_path))


def _stop_all() -> None:
    """进程退出时停掉还在跑的；fork 出来的子进程不许动父进程的服务器。"""
    for server in list(_RUNNING):
        if server.owner_pid == os.getpid():
            server.stop()


atexit.register(_stop_all)
