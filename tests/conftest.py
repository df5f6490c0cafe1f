"""Fixtures that every test may ask for: real servers, a database and a broker of its own, servers to be killed."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
import redis

from taskmill.dev import passwords
from taskmill.dev.servers import PostgresServer, ValkeyServer
from taskmill.words import speak
from tests.support import databases, servers

# 在后台起的（nohup、脚本里的 &）继承「忽略 SIGINT」，测试里的子进程也就谁都收不到 Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# 在别处随机地找反例；CI 只重复同样的例子，免得一次无关的改动撞上它
hypothesis.settings.register_profile("home", deadline=None)
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "home")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """先跑有慢测试的文件：一个文件只在一处跑，留到最后，别的进程就都在等它。"""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _unconfigured() -> None:
    """Errors speak as where nobody has configured logging, whatever an earlier test configured."""
    speak("en")


LOGICAL_DATABASES = range(1, 16)  # Valkey 的默认值；第一个归 taskmill_broker_url

PostgresFactory = Callable[..., PostgresServer]
ValkeyFactory = Callable[..., ValkeyServer]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the loop that production uses."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def no_watch() -> Iterator[None]:
    """No test leaves behind the thread that ends a role's process when its time is up: that would end pytest, without a word."""
    yield
    assert "watch" not in {thread.name for thread in threading.enumerate()}, "a role ran in the process of the tests"


@pytest.fixture(scope="session")
def server_root(taskmill_server_root: Path) -> Path:
    """A folder for the data of servers."""
    return taskmill_server_root


@pytest.fixture(scope="session")
def taskmill_postgres(taskmill_server_root: Path) -> Iterator[servers.HasUrl]:
    """The same server for the product's fixtures and for ours; containers too."""
    with servers.postgres(taskmill_server_root / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def taskmill_valkey(taskmill_server_root: Path) -> Iterator[servers.HasUrl]:
    """The same, Valkey."""
    with servers.valkey(taskmill_server_root / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def taskmill_broker_url(taskmill_valkey: servers.HasUrl) -> str:
    """The first logical database; the others are for `broker_url`. Each process of the tests has a server of its own."""
    return taskmill_valkey.url


@pytest.fixture(scope="session")
def postgres_server(taskmill_postgres: servers.HasUrl) -> servers.HasUrl:
    """The PostgreSQL of the session; tests take `database_url` instead and never stop this one."""
    return taskmill_postgres


@pytest.fixture(scope="session")
def valkey_server(taskmill_valkey: servers.HasUrl) -> servers.HasUrl:
    """The Valkey of the session; tests take `broker_url` instead and never stop this one."""
    return taskmill_valkey


@pytest.fixture(scope="session")
def database_template(postgres_server: servers.HasUrl) -> Iterator[str]:
    """The name of a migrated database that `database_url` clones."""
    with databases.temporary_database(postgres_server.url, prefix="taskmill_template") as url:
        databases.in_thread(databases.migrate(url))
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def database_url(postgres_server: servers.HasUrl, database_template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database; dropped after the test."""
    with databases.temporary_database(postgres_server.url, template=database_template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: servers.HasUrl) -> Iterator[str]:
    """The URL of a fresh database without any schema, for tests of migrations."""
    with databases.temporary_database(postgres_server.url) as url:
        yield url


@pytest.fixture(scope="session")
def broker_numbers() -> deque[int]:
    """The logical databases that no running test uses."""
    return deque(LOGICAL_DATABASES)


@pytest.fixture
def broker_url(valkey_server: servers.HasUrl, broker_numbers: deque[int]) -> Iterator[str]:
    """The URL of an empty logical database; flushed after the test. Channels are shared with other tests."""
    number = broker_numbers.popleft()
    url = urlunsplit(urlsplit(valkey_server.url)._replace(path=f"/{number}"))
    yield url
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    broker_numbers.append(number)


@pytest.fixture
def own_postgres(server_root: Path) -> Iterator[PostgresFactory]:
    """`own_postgres(settings=…, migrated=True)`: a PostgreSQL that the test may kill; fsync is on."""
    with ExitStack() as stack:

        def start(*, settings: dict[str, str] | None = None, migrated: bool = True) -> PostgresServer:
            root = Path(tempfile.mkdtemp(prefix="postgres-", dir=server_root))
            server = stack.enter_context(servers.new_postgres(root, settings))
            if migrated:
                databases.in_thread(databases.migrate(server.url))
            return server

        yield start


@pytest.fixture
def own_valkey(server_root: Path) -> Iterator[ValkeyFactory]:
    """`own_valkey(settings=…, password=…)`: a Valkey that the test may kill; it keeps an append-only file."""
    with ExitStack() as stack:

        def start(*, settings: dict[str, str] | None = None, password: str | None = None) -> ValkeyServer:
            root = Path(tempfile.mkdtemp(prefix="valkey-", dir=server_root))
            if password is not None:
                passwords.write(root, password)
            return stack.enter_context(servers.new_valkey(root, settings))

        yield start
