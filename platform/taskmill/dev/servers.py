"""Embedded PostgreSQL and Valkey for `taskmill dev` and for tests; the data outlives every process.

Blocking calls: from asyncio use a thread. Not for production: there an own PostgreSQL and Valkey are expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskmill.dev.postgres import PostgresServer
from taskmill.dev.valkey import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["PostgresServer", "ValkeyServer", "start_postgres", "start_valkey"]


def start_postgres(
    data_dir: Path, *, port: int = 0, settings: Mapping[str, str] | None = None, bin_dir: Path | None = None
) -> PostgresServer:
    """Start PostgreSQL on the data in `data_dir`, which the first start creates (about a second).

    `port` 0 takes the port of the last start if it is free, else any. `settings` are server parameters that override
    the defaults, e.g. `{"fsync": "off"}`. `bin_dir` holds the binaries of another version.
    Raises SetupError: DEV_SERVERS_MISSING without the package, DEV_SERVERS_FAILED with the end of the server's log.
    """
    return PostgresServer(data_dir, port=port, settings=settings, bin_dir=bin_dir).start()


def start_valkey(
    data_dir: Path, *, port: int = 0, settings: Mapping[str, str] | None = None, binary: Path | None = None
) -> ValkeyServer:
    """Start Valkey on the data in `data_dir`, kept in an append-only file that is flushed each second.

    Parameters and errors as for `start_postgres`; `binary` is the server of another version (Redis works too).
    """
    return ValkeyServer(data_dir, port=port, settings=settings, binary=binary).start()
