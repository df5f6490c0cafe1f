"""Which servers the tests run against: given by URL, containers, or the embedded ones (the default).

| variable | effect |
|---|---|
| TASKMILL_TEST_DATABASE_URL, TASKMILL_TEST_BROKER_URL | use these; the user must be allowed to create databases |
| TASKMILL_TEST_SERVERS=containers | testcontainers, if a Docker engine answers |
| TASKMILL_TEST_PG_BIN, TASKMILL_TEST_VALKEY_BIN | embedded, but another version: a folder of binaries, a server binary |
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import docker
from docker.errors import DockerException

from taskmill.dev.servers import PostgresServer, ValkeyServer

# 测试数据不值得等磁盘；混沌测试与基准用自己的服务器，fsync 打开
POSTGRES_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
}
VALKEY_SETTINGS = {"appendonly": "no"}
POSTGRES_IMAGE = "postgres:18-alpine"
VALKEY_IMAGE = "valkey/valkey:9-alpine"


class HasUrl(Protocol):
    """A server that tests can reach."""

    @property
    def url(self) -> str:
        """Its URL."""
        ...


class GivenServer:
    """A server that somebody else runs."""

    def __init__(self, url: str) -> None:
        self.url = url


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).resolve() if value else None


def new_postgres(root: Path, settings: dict[str, str] | None = None) -> PostgresServer:
    """Return an embedded PostgreSQL, not started, of the version under test."""
    return PostgresServer(root, settings=settings, bin_dir=_path("TASKMILL_TEST_PG_BIN"))


def new_valkey(root: Path, settings: dict[str, str] | None = None) -> ValkeyServer:
    """Return an embedded Valkey, not started, of the version under test."""
    return ValkeyServer(root, settings=settings, binary=_path("TASKMILL_TEST_VALKEY_BIN"))


def containers_wanted() -> bool:
    """Return whether containers were asked for and a Docker engine answers."""
    if os.environ.get("TASKMILL_TEST_SERVERS") != "containers":
        return False
    try:
        client = docker.from_env()
    except DockerException:
        return False
    client.close()
    return True


@contextmanager
def postgres(root: Path) -> Iterator[HasUrl]:
    """Run the PostgreSQL of a test session; `root` is for the embedded one."""
    if url := os.environ.get("TASKMILL_TEST_DATABASE_URL"):
        yield GivenServer(url)
    elif containers_wanted():
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer(POSTGRES_IMAGE, driver=None) as container:
            yield GivenServer(container.get_connection_url())
    else:
        with new_postgres(root, POSTGRES_SETTINGS) as server:
            yield server


@contextmanager
def valkey(root: Path) -> Iterator[HasUrl]:
    """Run the Valkey of a test session; `root` is for the embedded one."""
    if url := os.environ.get("TASKMILL_TEST_BROKER_URL"):
        yield GivenServer(url)
    elif containers_wanted():
        from testcontainers.community.valkey import ValkeyContainer

        with ValkeyContainer(VALKEY_IMAGE) as container:
            yield GivenServer(f"redis://{container.get_host()}:{container.get_exposed_port()}/0")
    else:
        with new_valkey(root, VALKEY_SETTINGS) as server:
            yield server
