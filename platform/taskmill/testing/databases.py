"""Databases of test sessions and of single tests, and what is left in them between two tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from taskmill.services.setup import migrate_up
from taskmill.stores.broker.tickets import Tickets
from taskmill.stores.database import Database
from taskmill.stores.schema import throwaway

T = TypeVar("T")


def in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop and thread of its own; safe from fixtures of sync and async tests."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


def with_database(url: str, name: str) -> str:
    """Return `url` with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def temporary_database(admin_url: str, *, template: str | None = None, prefix: str = "t") -> Iterator[str]:
    """Create a database, yield its URL, drop it with all its connections."""
    name = f"{prefix}_{uuid4().hex[:12]}"
    in_thread(throwaway.create(admin_url, name, template))
    try:
        yield with_database(admin_url, name)
    finally:
        in_thread(throwaway.drop(admin_url, name))


async def migrate(url: str) -> None:
    """Bring an empty database to the newest schema, with the partitions of the coming days."""
    await migrate_up(url)


async def empty(database_url: str, broker_url: str) -> None:
    """Empty Taskmill's tables and its streams of tickets; what else is in the database and in Valkey is left alone."""
    queues = await throwaway.empty(database_url)
    tickets = Tickets(broker_url)
    try:
        for queue in queues:
            await tickets.forget(queue)
    finally:
        await tickets.close()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Give a database with few connections."""
    database = Database(url, pool_size=2, orm_pool_size=1)
    await database.open()
    try:
        yield database
    finally:
        await database.close()
