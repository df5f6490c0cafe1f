"""Pages of tasks, read past the ORM on connections of its pool: the hot pool's plans are pinned for other statements."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill import reasons
from taskmill.errors import Code, InputError
from taskmill.stores import constants as sc
from taskmill.stores.database import Connection, Database
from taskmill.stores.sqlstates import CANCELLED
from taskmill.stores.tasks.lists.statement import TaskQuery, statement, values

_SURELY_OURS = 0.9  # 两边的钟不同，差一点也算到了时限


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[Connection]:
    """Give a connection in a transaction for lists, limited as in `bounded`; errors are asyncpg's and those of `bounded`.

    Each statement is planned for its values: a plan for any values would not know how many rows there are of a queue.
    """
    async with database.plain() as connection:
        await connection.execute(
            f"begin; set local statement_timeout = '{sc.LIST_TIMEOUT_S}s'; set local lock_timeout = '{sc.LIST_LOCK_TIMEOUT}'; "
            "set local plan_cache_mode = force_custom_plan; set local jit = off; set local max_parallel_workers_per_gather = 0"
        )
        began = time.monotonic()
        try:
            yield connection
        except asyncpg.QueryCanceledError as error:
            _judge(began, error)
            raise
        await connection.execute("commit")


@asynccontextmanager
async def bounded(session: AsyncSession) -> AsyncIterator[None]:
    """Limit the statements of this transaction in time, so that a broad filter cannot hold a connection.

    Raises InputError INVALID_REQUEST if the limit ended one: then the filter is too broad. A statement that somebody else
    ended, or that waited for a lock, raises the driver's error.
    """
    limits = {"limit": f"{sc.LIST_TIMEOUT_S}s", "lock": sc.LIST_LOCK_TIMEOUT}
    await session.execute(
        text("select set_config('statement_timeout', :limit, true), set_config('lock_timeout', :lock, true)"), limits
    )
    began = time.monotonic()
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == CANCELLED:
            _judge(began, error)
        raise


def _judge(began: float, error: Exception) -> None:
    """状态码分不清是谁中止的，时间分得清。"""
    if time.monotonic() - began >= sc.LIST_TIMEOUT_S * _SURELY_OURS:
        reason = reasons.TOO_BROAD(limit=f"{sc.LIST_TIMEOUT_S} s")
        raise InputError(Code.INVALID_REQUEST, field="query", reason=reason) from error


async def fetch_page(connection: Connection, query: TaskQuery, *, limit: int, offset: int) -> tuple[list[Any], int]:
    """Return up to `limit` rows from `offset` on, newest first, without args and meta, and the capped total.

    `error` is decoded. Both come from one statement, so one snapshot. The total counts to TOTAL_EXACT_MAX + 1 and no further.
    """
    found = await connection.fetch(statement(query, counted=True), limit, offset, *values(query))
    return [row for row in found if row["id"] is not None], found[0]["total"]


async def fetch_after(connection: Connection, query: TaskQuery, *, limit: int) -> list[Any]:
    """Return up to `limit` rows below the keyset, newest first, without args and meta; `error` is decoded."""
    return await connection.fetch(statement(query, counted=False), limit, 0, *values(query))
