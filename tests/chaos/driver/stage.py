"""The stage: servers with data of their own, the gates before them, the user that roles connect as, the roles."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import redis.asyncio

from taskmill.dev import passwords, ports
from taskmill.dev.servers import PostgresServer, ValkeyServer
from tests.chaos.driver import journal
from tests.chaos.driver.clock import Clock, compiled
from tests.chaos.driver.controls import LIMITED, LIMITS
from tests.chaos.driver.gates import Gates
from tests.chaos.driver.roles import Role, environment
from tests.chaos.driver.schedule import ROLES
from tests.support.command import TASKMILL

USER = "taskmill"
LEASE_S, HEARTBEAT_S, GRACE_S = 10.0, 2.0, 10.0
CONCURRENCY = 20
POOLS = 16  # 每个角色最多的连接：10 热、5 ORM、1 心跳
BULK = tuple(f"bulk-{n:02d}" for n in range(12))
QUEUES = ("default", *BULK)
DISK_MB = 700
LOG_DISK_MB = 8
LOG_FILE_BYTES = 128 * 1024  # 七个角色各两个文件、各留一份旧的，也放得下
POSTGRES = {"max_connections": "200", "shared_buffers": "128MB", "max_wal_size": "128MB", "min_wal_size": "64MB"}
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


Submit = Callable[[Sequence[tuple[str, dict[str, Any]]], random.Random], Awaitable[None]]


async def _nobody(_tasks: Sequence[tuple[str, dict[str, Any]]], _rng: random.Random) -> None:
    """Clients have not been attached yet."""


class Valkey(ValkeyServer):
    """Valkey with a clock of its own, if it has one."""

    def __init__(self, root: Path, clock: Clock | None) -> None:
        super().__init__(root)
        self._clock = clock

    def _command(self) -> list[str]:
        words = [f"{name}={value}" for name, value in self._clock.environment.items()] if self._clock else []
        return ["/usr/bin/env", *words, *super()._command()]


class Stage:
    """Everything that a run needs. `admin_url` leads to PostgreSQL past the gates, as superuser."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.gates = Gates()
        self.disk = _small_disk(folder / "disk", stack)  # None：没有权限挂载
        self.log_disk = _mounted(folder / "log-disk", stack, "-t", "tmpfs", "-o", f"size={LOG_DISK_MB}m", "tmpfs")
        stack.callback(self._keep_logs)
        self.postgres = PostgresServer((self.disk or folder) / "postgres", settings=POSTGRES)
        self.clocks = _clocks(folder)  # 空的：没有编译器
        self.valkeys = [Valkey(folder / f"valkey-{n}", self.clocks.get(f"valkey-{n}")) for n in range(2)]
        word = passwords.new()  # 两台同一个密码：切换之后客户端照样连得上
        for server in self.valkeys:
            server.root.mkdir(parents=True, exist_ok=True)
            passwords.write(server.root, word)
        self.roles: dict[str, Role] = {}
        self.urls: dict[str, str] = {}
        self.secret = ""
        self.submit: Submit = _nobody  # 由客户端接上
        self._spawned: set[asyncio.Task[Any]] = set()

    def _keep_logs(self) -> None:
        """服务器的数据不留，它们的日志留下。"""
        for server in (self.postgres, *self.valkeys):
            if server.log_path.exists():
                shutil.copy(server.log_path, self.folder / "logs" / f"{server.root.name}.log")

    @property
    def valkey(self) -> ValkeyServer:
        """Return the Valkey that the gates lead to."""
        return self.valkeys[0]

    @property
    def admin_url(self) -> str:
        """Return the way to the roles' database past the gates."""
        return urlsplit(self.postgres.url)._replace(path=f"/{USER}").geturl()

    @property
    def user_url(self) -> str:
        """Return the same for the user that roles connect as."""
        found = urlsplit(self.admin_url)
        return found._replace(netloc=f"{USER}:{found.password}@{found.netloc.rpartition('@')[2]}").geturl()

    async def open(self) -> None:
        """Start the servers, make database, schema and key, and start the roles."""
        await self.open_servers()
        self.secret = (await asyncio.to_thread(self.command, "key", "create", "chaos")).strip()
        for name in ROLES:
            self.roles[name] = self._role(name)
        for role in self.roles.values():
            role.start()

    async def open_servers(self) -> None:
        """Start the servers and make database and schema."""
        (self.folder / "logs").mkdir()
        for server in (self.postgres, *self.valkeys):
            self._stack.callback(server.stop)  # 故障切换之后跑着的可能是另一个
        await asyncio.to_thread(self.postgres.start)
        await asyncio.to_thread(self.valkey.start)
        password = urlsplit(self.postgres.url).password
        await self.execute(f"create role {USER} login password '{password}'", url=self.postgres.url)
        await self.execute(f"create database {USER} owner {USER}", url=self.postgres.url)
        await asyncio.to_thread(self.command, "migrate", "up")
        await self.execute(LIMITS)

    def _settings(self, **more: object) -> dict[str, str]:
        return {
            **environment(
                plugin_modules="tests.chaos.driver.kinds", plugins_allow="chaos", lease_s=LEASE_S, heartbeat_s=HEARTBEAT_S,
                drain_grace_s=GRACE_S, log_format="json", **self._log_files(more), **more,
            ),
            journal.FOLDER: str(self.folder / "journal"),
        }  # fmt: skip

    def _log_files(self, role: Mapping[str, object]) -> dict[str, object]:
        if self.log_disk is None or "pod_name" not in role:
            return {}
        folder = self.log_disk / str(role["pod_name"])
        return {"log_dir": folder, "log_file_max_bytes": LOG_FILE_BYTES, "log_file_count": 1}

    def command(self, *arguments: str) -> str:
        """Run the command line past the gates; RuntimeError with what it said if it fails."""
        urls = {"database_url": self.user_url, "broker_url": self.valkey.url}
        done = subprocess.run(
            [TASKMILL, *arguments], env=self._settings(**urls), capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode:
            message = f"taskmill {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}"
            raise RuntimeError(message)
        return done.stdout

    def _role(self, name: str) -> Role:
        kind = name.split("-", maxsplit=1)[0]
        port = ports.choose(None)
        more: dict[str, object] = {
            "database_url": self.gates.add(f"{name}>postgres", self.user_url),
            "broker_url": self.gates.add(f"{name}>valkey", self.valkey.url),
            "pod_name": name,
        }
        command = [kind]
        if kind == "api":
            command += ["--port", str(port)]
        else:
            more |= {f"{kind}_health_port": port, "bind_host": "127.0.0.1"}
        if kind == "worker":
            command += ["--concurrency", str(CONCURRENCY)]
            command += [word for queue in (*QUEUES, LIMITED, probe_queue(name)) for word in ("--queue", queue)]
        self.urls[name] = f"http://127.0.0.1:{port}"
        clock = self.clocks[name].environment if self.clocks else {}
        return Role(name, command, self._settings(**more) | clock, self.folder / "logs")

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something go on beside the round; `settle` waits for it."""
        self._spawned.add(asyncio.create_task(work))

    async def settle(self) -> None:
        """Wait for all that was spawned."""
        while self._spawned:
            done, self._spawned = await asyncio.wait(self._spawned)
            for task in done:
                task.result()

    def of(self, kind: str) -> list[Role]:
        """Return the roles of one kind."""
        return [role for role in self.roles.values() if role.kind == kind]

    async def execute(self, statement: str, *args: Any, url: str | None = None) -> None:
        """Run a statement past the gates."""
        connection = await asyncpg.connect(url or self.admin_url, timeout=10)
        try:
            await connection.execute(statement, *args, timeout=10)
        finally:
            connection.terminate()

    async def rows(self, query: str, *args: Any) -> list[Any]:
        """Return rows, past the gates; one of AWAY while PostgreSQL is away."""
        connection = await asyncpg.connect(self.admin_url, timeout=10)
        try:
            return await connection.fetch(query, *args, timeout=60)
        finally:
            connection.terminate()

    def valkey_client(self, server: ValkeyServer | None = None) -> redis.asyncio.Redis:
        """Return a client of Valkey past the gates."""
        return redis.asyncio.Redis.from_url((server or self.valkey).url, socket_timeout=5, socket_connect_timeout=5)


def probe_queue(worker: str) -> str:
    """Return the queue that only this worker serves."""
    return f"probe-{worker}"


def _clocks(folder: Path) -> dict[str, Clock]:
    library = compiled(folder)
    names = (*ROLES, "valkey-0", "valkey-1") if library else ()
    return {name: Clock(library, folder / f"{name}.clock") for name in names if library}


def _small_disk(folder: Path, stack: ExitStack) -> Path | None:
    """挂一个小文件系统给 PostgreSQL，才能真的写满；没有权限就算了。"""
    image = folder.with_suffix(".img")
    try:
        with image.open("wb") as file:
            file.truncate(DISK_MB * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-m", "0", str(image))
    except (OSError, subprocess.CalledProcessError):
        image.unlink(missing_ok=True)
        return None
    stack.callback(image.unlink, missing_ok=True)
    return _mounted(folder, stack, "-o", "loop", str(image))


def _mounted(folder: Path, stack: ExitStack, *what: str) -> Path | None:
    folder.mkdir(parents=True)
    try:
        _run("mount", *what, str(folder))
    except (OSError, subprocess.CalledProcessError):
        folder.rmdir()
        return None
    stack.callback(_run, "umount", "-l", str(folder))
    return folder


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
