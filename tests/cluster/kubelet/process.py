"""One running container (or a command inside one): a process 1 behind the shim."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHIM = Path(__file__).with_name("shim.py")
KILLED = 137


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the argument list, all of the environment, the working folder, uid and gid."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"
    user: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the process sees: read-only folders of the image, mounts (source, target, read-only), a scratch folder."""

    hostname: str
    root: Path
    folders: Sequence[Path] = ()
    mounts: Sequence[tuple[str, str, bool]] = field(default_factory=list)
    read_only_root: bool = False
    passable: Sequence[Path] = ()


class Process:
    """Start it from a thread that lives as long as it may: the kernel kills it when that thread ends."""

    def __init__(self, spec: Mapping[str, Any], file: Path, log: Path) -> None:
        file.write_text(json.dumps({**spec, "parent": os.getpid()}))
        file.chmod(0o600)
        read, write = os.pipe()
        with log.open("ab") as output:
            log.chmod(0o666)  # 容器的用户也能开 /proc/1/fd/1
            self._shim = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM), str(file), str(write)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
                pass_fds=(write,),
                start_new_session=True,
            )
        os.close(write)
        self._report = read
        self.pid = 0  # 进程 1 在宿主上的号
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch(os.pidfd_open(self._shim.pid))

    @classmethod
    async def start(cls, command: Command, sandbox: Sandbox, log: Path) -> Process:
        """Start a container; its output is appended to `log`."""
        sandbox.root.mkdir(parents=True, exist_ok=True)
        process = cls(
            {
                "argv": list(command.argv),
                "env": dict(command.env),
                "cwd": command.cwd,
                "user": list(command.user),
                "passable": [str(folder) for folder in sandbox.passable],
                "hostname": sandbox.hostname[:63],
                "root": str(sandbox.root),
                "binds": [[str(folder), True] for folder in sandbox.folders],
                "mounts": [list(mount) for mount in sandbox.mounts],
                "read_only_root": sandbox.read_only_root,
            },
            sandbox.root.with_suffix(".json"),
            log,
        )
        await process._started()
        return process

    async def inside(self, command: Command, log: Path, file: Path) -> Process:
        """Start a command in this container."""
        spec: dict[str, Any] = {"argv": list(command.argv), "env": dict(command.env), "cwd": command.cwd}
        spec |= {"user": list(command.user), "join": self.pid}
        process = type(self)(spec, file, log)
        await process._started()
        return process

    async def _started(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._report, ready.set)
        try:
            await ready.wait()
            self.pid = int(os.read(self._report, 32) or b"0")
        except asyncio.CancelledError:
            self._shim.kill()
            raise
        finally:
            loop.remove_reader(self._report)
            os.close(self._report)

    def _watch(self, handle: int) -> None:
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            code = self._shim.wait()
            self._done.set_result(code if code >= 0 else 128 - code)

        loop.add_reader(handle, ended)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._done.done()

    async def wait(self) -> int:
        """Return the exit code, 128 + signal if it was killed."""
        return await asyncio.shield(self._done)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to process 1; as in any container, without a handler only SIGKILL has an effect."""
        if self.running and self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill everything in the container."""
        self.signal(signal.SIGKILL)
        if self.running and not self.pid:
            self._shim.kill()
