"""Connections of applications, each as its driver has them: a row and a task in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

WRITE = "insert into public.orders (text) values ('{}')"
COUNT = "select count(*) from public.orders"
TABLE = "create table if not exists public.orders (id bigint generated always as identity primary key, text text not null)"
Run = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Visitor:
    """An open transaction of an application: what to give the door, and how its owner goes on."""

    connection: Any
    run: Run
    commit: Callable[[], Awaitable[Any]]
    rollback: Callable[[], Awaitable[Any]]

    async def write(self, words: str) -> None:
        """Write a row of the application."""
        await self.run(WRITE.format(words))


Visit = Callable[[str], AbstractAsyncContextManager[Visitor]]


def awaited(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return a plain function as one that is awaited, so that all visitors look the same."""

    async def later(*args: Any) -> Any:
        return call(*args)

    return later


def with_driver(url: str, driver: str) -> str:
    """Return the URL as SQLAlchemy wants it."""
    return url.replace("postgresql://", f"postgresql+{driver}://", 1)


async def begun(connection: Any) -> Visitor:
    """Return a visitor by asyncpg, which begins no transaction by itself: as with the others, the next one follows a rollback."""
    transaction = connection.transaction()
    await transaction.start()

    async def commit() -> None:
        await transaction.commit()

    async def rollback() -> None:
        nonlocal transaction
        await transaction.rollback()
        transaction = connection.transaction()
        await transaction.start()

    return Visitor(connection, connection.execute, commit, rollback)


@asynccontextmanager
async def by_asyncpg(url: str) -> AsyncIterator[Visitor]:
    connection = await asyncpg.connect(url)
    try:
        yield await begun(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def by_asyncpg_pool(url: str) -> AsyncIterator[Visitor]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        # 别人为自己的 jsonb 设的编解码，不该碰到我们的
        await connection.set_type_codec("jsonb", encoder=repr, decoder=repr, schema="pg_catalog")
        yield await begun(connection)


@asynccontextmanager
async def by_psycopg(url: str) -> AsyncIterator[Visitor]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        run: Any = awaited(connection.execute)
        yield Visitor(connection, run, awaited(connection.commit), awaited(connection.rollback))


@asynccontextmanager
async def by_psycopg_async(url: str) -> AsyncIterator[Visitor]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        run: Any = connection.execute
        yield Visitor(connection, run, connection.commit, connection.rollback)


@contextmanager
def plain_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(with_driver(url, "psycopg"))
    try:
        yield engine
    finally:
        engine.dispose()


@asynccontextmanager
async def async_engine(url: str, driver: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(with_driver(url, driver))
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def by_connection(url: str) -> AsyncIterator[Visitor]:
    with plain_engine(url) as engine, engine.connect() as connection:
        yield Visitor(
            connection,
            awaited(lambda words: connection.execute(text(words))),
            awaited(connection.commit),
            awaited(connection.rollback),
        )


@asynccontextmanager
async def by_session(url: str) -> AsyncIterator[Visitor]:
    with plain_engine(url) as engine, Session(engine) as session:
        run = awaited(lambda words: session.execute(text(words)))
        yield Visitor(session, run, awaited(session.commit), awaited(session.rollback))


@asynccontextmanager
async def by_scoped_session(url: str) -> AsyncIterator[Visitor]:
    with plain_engine(url) as engine:
        session = scoped_session(sessionmaker(engine))
        run = awaited(lambda words: session.execute(text(words)))
        yield Visitor(session, run, awaited(session.commit), awaited(session.rollback))
        session.remove()


def by_async_connection(driver: str) -> Visit:
    @asynccontextmanager
    async def visit(url: str) -> AsyncIterator[Visitor]:
        async with async_engine(url, driver) as engine, engine.connect() as connection:
            yield Visitor(connection, lambda words: connection.execute(text(words)), connection.commit, connection.rollback)

    return visit


def by_async_session(driver: str) -> Visit:
    @asynccontextmanager
    async def visit(url: str) -> AsyncIterator[Visitor]:
        async with async_engine(url, driver) as engine, AsyncSession(engine) as session:
            yield Visitor(session, lambda words: session.execute(text(words)), session.commit, session.rollback)

    return visit


@asynccontextmanager
async def by_async_scoped_session(url: str) -> AsyncIterator[Visitor]:
    async with async_engine(url, "asyncpg") as engine:
        session = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: None)
        yield Visitor(session, lambda words: session.execute(text(words)), session.commit, session.rollback)
        await session.remove()


# 同步的那些，也给 taskmill.sync 用
BLOCKING: dict[str, Visit] = {
    "psycopg": by_psycopg,
    "sqlalchemy connection": by_connection,
    "sqlalchemy session": by_session,
    "sqlalchemy scoped session": by_scoped_session,
}
VISITS: dict[str, Visit] = {
    "asyncpg": by_asyncpg,
    "asyncpg pool": by_asyncpg_pool,
    "psycopg async": by_psycopg_async,
    "sqlalchemy async connection": by_async_connection("asyncpg"),
    "sqlalchemy async connection, psycopg": by_async_connection("psycopg"),
    "sqlalchemy async session": by_async_session("asyncpg"),
    "sqlalchemy async session, psycopg": by_async_session("psycopg"),
    "sqlalchemy async scoped session": by_async_scoped_session,
    **BLOCKING,
}
