"""The embedded servers: data outlive every kind of death, ports are kept, leftovers are cleared away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis

from taskmill.dev import postgres, process_table, valkey
from taskmill.dev.child_server import ChildServer
from taskmill.dev.servers import start_postgres, start_valkey
from taskmill.errors import Code, SetupError
from tests.conftest import PostgresFactory, ValkeyFactory
from tests.support import servers
from tests.support.databases import execute, in_thread

SETTLE_S = 30.0
EXECUTABLES = frozenset().union(postgres.PostgresServer.executables, valkey.ValkeyServer.executables)

OWNER = """
import os, sys
from pathlib import Path
from taskmill.dev import child_server
from tests.support import servers

start = child_server.spawn
child_server.spawn = lambda command, **facts: start(command, **{**facts, "death_signal": 0})
postgres = servers.new_postgres(Path(sys.argv[1]), servers.POSTGRES_SETTINGS).start()
if sys.argv[2] == "paused":
    postgres.pause()
if sys.argv[2] == "headless":
    os.kill(postgres.pid, 9)
print(postgres.pid, postgres.port, flush=True)
os.kill(os.getpid(), 9)
"""


def put(url: str, number: int) -> None:
    """Commit one row."""
    create = "create table if not exists kept (number int)"
    in_thread(execute(url, create, f"insert into kept values ({number})"))


def kept(url: str) -> list[int]:
    """Return the committed rows."""

    async def read() -> list[int]:
        connection = await asyncpg.connect(url)
        try:
            return [row["number"] for row in await connection.fetch("select number from kept order by 1")]
        finally:
            await connection.close()

    return in_thread(read())


def is_dead(server: ChildServer) -> bool:
    """Return whether no process of the server is left."""
    return not process_table.server_pids(server.executables, server.home)


@pytest.fixture
def folder(server_root: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder that the user of PostgreSQL can reach."""
    path = server_root / f"own-{request.node.name.partition('[')[0]}-{os.urandom(4).hex()}"
    path.mkdir()
    yield path
    # 测试中途失败也不留下进程
    process_table.send(process_table.server_pids(EXECUTABLES, path / "data"), signal.SIGKILL)


@pytest.mark.parametrize("death", ["stop", "kill"])
def test_postgres_keeps_committed_rows_and_its_port(own_postgres: PostgresFactory, death: str) -> None:
    server = own_postgres(migrated=False)
    port, first_pid = server.port, server.pid
    put(server.url, 1)
    getattr(server, death)()
    assert is_dead(server)
    server.restart()
    put(server.url, 2)
    assert (server.port, kept(server.url)) == (port, [1, 2])
    assert server.pid != first_pid


def test_valkey_keeps_its_keys_and_its_port(own_valkey: ValkeyFactory) -> None:
    server = own_valkey()
    port = server.port
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
        server.restart()
        assert client.get("kept") == b"1"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    assert server.port == port


def test_valkey_comes_back_after_a_kill(own_valkey: ValkeyFactory) -> None:
    server = own_valkey()
    server.kill()
    assert not server.running
    with redis.Redis.from_url(server.restart().url) as client:
        assert client.ping()


def test_a_paused_postgres_is_silent_until_resumed(own_postgres: PostgresFactory) -> None:
    server = own_postgres(migrated=False)
    server.pause()
    with socket.create_connection(("127.0.0.1", server.port), SETTLE_S) as client:
        # SSLRequest：活着的服务器会立刻回一个字节
        client.sendall(bytes.fromhex("0000000804d2162f"))
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.resume()
        client.settimeout(SETTLE_S)
        assert client.recv(1) == b"N"


def test_a_paused_server_can_be_stopped(own_valkey: ValkeyFactory) -> None:
    server = own_valkey()
    server.pause()
    server.stop()
    assert is_dead(server)


def test_stopping_twice_and_killing_the_dead_is_harmless(own_valkey: ValkeyFactory) -> None:
    server = own_valkey()
    server.stop()
    server.stop()
    server.kill()
    assert not server.running


def test_fsync_is_on_and_only_loopback_is_served(own_postgres: PostgresFactory) -> None:
    server = own_postgres(migrated=False)

    async def read() -> list[str]:
        connection = await asyncpg.connect(server.url)
        try:
            names = ("fsync", "listen_addresses", "server_encoding", "unix_socket_directories")
            return [await connection.fetchval(f"show {name}") for name in names]
        finally:
            await connection.close()

    assert in_thread(read()) == ["on", "127.0.0.1", "UTF8", ""]


@pytest.mark.parametrize("state", ["alive", "paused", "headless"])
def test_leftovers_of_a_killed_owner_are_stopped(folder: Path, state: str) -> None:
    command = [sys.executable, "-c", OWNER, str(folder), state]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    old_pid, old_port = (int(word) for word in done.stdout.splitlines()[-1].split())
    with servers.new_postgres(folder, servers.POSTGRES_SETTINGS) as server:
        put(server.url, 1)
        assert (kept(server.url), server.port) == ([1], old_port)
        found = process_table.server_pids(server.executables, server.home)
        assert old_pid not in found


PAUSED_OWNER = """
import os, sys
from pathlib import Path
from tests.support import servers

{start}(Path(sys.argv[1]), servers.{settings}).start().pause()
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    ("start", "settings"),
    [("servers.new_postgres", "POSTGRES_SETTINGS"), ("servers.new_valkey", "VALKEY_SETTINGS")],
)
def test_a_paused_server_dies_with_its_killed_owner(folder: Path, start: str, settings: str) -> None:
    program = PAUSED_OWNER.format(start=start, settings=settings)
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    gone = process_table.wait_until(lambda: not process_table.server_pids(EXECUTABLES, folder / "data"), SETTLE_S)
    assert gone


def test_a_folder_has_one_owner(folder: Path) -> None:
    with servers.new_valkey(folder), pytest.raises(SetupError, match=f"in use by process {os.getpid()}") as caught:
        servers.new_valkey(folder).start()
    assert caught.value.code == Code.DEV_SERVERS_FAILED
    servers.new_valkey(folder).start().stop()


def test_a_wrong_setting_fails_with_the_words_of_the_log(folder: Path) -> None:
    with pytest.raises(SetupError, match="no_such_parameter") as caught:
        servers.new_postgres(folder, {**servers.POSTGRES_SETTINGS, "no_such_parameter": "1"}).start()
    assert caught.value.details["log"] == str(folder / "server.log")


def test_a_taken_fixed_port_is_an_error_and_a_remembered_one_is_not(folder: Path) -> None:
    with servers.new_valkey(folder) as first:
        port = first.port
    with socket.create_server(("127.0.0.1", port)):
        server = servers.new_valkey(folder)
        with server:
            assert server.port != port
        fixed = valkey.ValkeyServer(folder, port=port)
        with pytest.raises(SetupError, match="DEV_SERVERS_FAILED"):
            fixed.start()


def test_an_initdb_cut_short_leaves_no_half_a_database(folder: Path) -> None:
    (folder / "data.new").mkdir()
    (folder / "data.new" / "PG_VERSION").write_text("18")
    with servers.new_postgres(folder, servers.POSTGRES_SETTINGS) as server:
        put(server.url, 1)


@pytest.mark.parametrize(("module", "start"), [(postgres, start_postgres), (valkey, start_valkey)])
def test_a_missing_package_is_named(module: object, start: object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    with pytest.raises(SetupError, match="DEV_SERVERS_MISSING") as caught:
        start(folder)  # pyright: ignore[reportCallIssue]
    hint = caught.value.hint()
    assert hint is not None
    assert "taskmill[dev-servers]" in hint["en"]


def without_password(url: str) -> str:
    """Return the URL as somebody else on this machine could make it up."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@")).geturl()


def test_the_servers_let_in_nobody_without_their_password(own_postgres: PostgresFactory, own_valkey: ValkeyFactory) -> None:
    postgres_server, valkey_server = own_postgres(), own_valkey()
    with pytest.raises(
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InterfaceError)
    ):
        kept(without_password(postgres_server.url))
    with pytest.raises(asyncpg.InvalidPasswordError):
        kept(without_password(postgres_server.url).replace("postgres@", "postgres:guess@"))
    for url in (without_password(valkey_server.url), without_password(valkey_server.url).replace("//@", "//:guess@")):
        with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(url) as client:
            client.ping()
    for server in (postgres_server, valkey_server):
        password = urlsplit(server.url).password or ""
        assert len(password) == 64
        assert (server.root / "password").stat().st_mode & 0o777 == 0o600
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_data_of_a_version_without_passwords_are_kept_and_locked_up(own_postgres: PostgresFactory) -> None:
    server = own_postgres(migrated=False)
    put(server.url, 1)
    server.stop()
    # 旧版本留下的样子：人人可进，没有密码
    (server.home / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    (server.root / "password").unlink()
    server.start()
    assert kept(server.url) == [1]
    with pytest.raises(asyncpg.InvalidPasswordError):
        kept(without_password(server.url).replace("postgres@", "postgres:guess@"))
    before = server.url
    server.restart()
    assert (server.url, kept(server.url)) == (before, [1])
