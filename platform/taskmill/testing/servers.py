"""PostgreSQL and Valkey for tests: those that the environment names, or embedded ones (`taskmill[dev-servers]`).

| variable | effect |
|---|---|
| TASKMILL_TEST_DATABASE_URL, TASKMILL_TEST_BROKER_URL | use these; the user must be allowed to create databases |
| TASKMILL_TEST_PG_BIN, TASKMILL_TEST_VALKEY_BIN | embedded, but another version: a folder of binaries, a server binary |
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from taskmill.dev.servers import PostgresServer, ValkeyServer

DATABASE_VARIABLE, BROKER_VARIABLE = "TASKMILL_TEST_DATABASE_URL", "TASKMILL_TEST_BROKER_URL"
# 测试数据不值得等磁盘
POSTGRES_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
}
VALKEY_SETTINGS = {"appendonly": "no"}


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


def new_postgres(root: Path, settings: Mapping[str, str] | None = None) -> PostgresServer:
    """Return an embedded PostgreSQL, not started, of the version under test. SetupError DEV_SERVERS_MISSING."""
    return PostgresServer(root, settings=settings, bin_dir=_path("TASKMILL_TEST_PG_BIN"))


def new_valkey(root: Path, settings: Mapping[str, str] | None = None) -> ValkeyServer:
    """Return an embedded Valkey, not started, of the version under test. SetupError DEV_SERVERS_MISSING."""
    return ValkeyServer(root, settings=settings, binary=_path("TASKMILL_TEST_VALKEY_BIN"))


@contextmanager
def postgres(root: Path) -> Iterator[HasUrl]:
    """Give the PostgreSQL of a test session; `root` is for the data of an embedded one."""
    if url := os.environ.get(DATABASE_VARIABLE):
        yield GivenServer(url)
    else:
        with new_postgres(root, POSTGRES_SETTINGS) as server:
            yield server


@contextmanager
def valkey(root: Path) -> Iterator[HasUrl]:
    """Give the Valkey of a test session; `root` is for the data of an embedded one."""
    if url := os.environ.get(BROKER_VARIABLE):
        yield GivenServer(url)
    else:
        with new_valkey(root, VALKEY_SETTINGS) as server:
            yield server


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).resolve() if value else None
