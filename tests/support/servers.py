"""Which servers the tests run against: given by URL, containers, or the embedded ones (the default).

`taskmill.testing.servers` says what is given and embedded; beside that:

| variable | effect |
|---|---|
| TASKMILL_TEST_SERVERS=containers | testcontainers, if a Docker engine answers |
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from taskmill.testing import servers as product
from taskmill.testing.servers import (
    BROKER_VARIABLE,
    DATABASE_VARIABLE,
    POSTGRES_SETTINGS,
    VALKEY_SETTINGS,
    GivenServer,
    HasUrl,
    new_postgres,
    new_valkey,
)

__all__ = ["POSTGRES_SETTINGS", "VALKEY_SETTINGS", "HasUrl", "new_postgres", "new_valkey", "postgres", "valkey"]

POSTGRES_IMAGE = "postgres:18-alpine"
VALKEY_IMAGE = "valkey/valkey:9-alpine"


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
    if DATABASE_VARIABLE not in os.environ and containers_wanted():
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer(POSTGRES_IMAGE, driver=None) as container:
            yield GivenServer(container.get_connection_url())
    else:
        with product.postgres(root) as server:
            yield server


@contextmanager
def valkey(root: Path) -> Iterator[HasUrl]:
    """Run the Valkey of a test session; `root` is for the embedded one."""
    if BROKER_VARIABLE not in os.environ and containers_wanted():
        from testcontainers.community.valkey import ValkeyContainer

        with ValkeyContainer(VALKEY_IMAGE) as container:
            yield GivenServer(f"redis://{container.get_host()}:{container.get_exposed_port()}/0")
    else:
        with product.valkey(root) as server:
            yield server
