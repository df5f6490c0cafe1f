"""Databases of single tests: cloned from a template that was migrated once per session."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

T = TypeVar("T")


def in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop and thread of its own; safe from fixtures of sync and async tests."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


def with_database(url: str, name: str) -> str:
    """Return `url` with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def execute(url: str, *statements: str) -> None:
    """Run statements one by one, each in a transaction of its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def temporary_database(admin_url: str, *, template: str | None = None, prefix: str = "t") -> Iterator[str]:
    """Create a database, yield its URL, drop it with all its connections."""
    name = f"{prefix}_{uuid4().hex[:12]}"
    source = f" template {template}" if template else ""
    in_thread(execute(admin_url, f"create database {name}{source}"))
    try:
        yield with_database(admin_url, name)
    finally:
        in_thread(execute(admin_url, f"drop database if exists {name} with (force)"))


async def migrate(url: str) -> None:
    """Bring an empty database to the newest schema."""
    from taskmill.stores.schema import migrations

    await migrations.upgrade(url)
