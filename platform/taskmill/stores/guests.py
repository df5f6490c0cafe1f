"""Connections that are not ours: a submit in the transaction of an application, whatever it speaks to PostgreSQL with.

No driver is imported here: a connection is known by the name of its class and that of its module. Each runs one statement with one text,
and gives one text back; `taskmill.submit_tasks` does the rest, so that its role needs no right on the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from taskmill import reasons
from taskmill.errors import Code, InputError, SetupError

CALL: Final = "select cast(taskmill.submit_tasks(cast(cast({} as text) as jsonb)) as text)"
FUNCTION: Final = "taskmill.submit_tasks(jsonb)"
NO_FUNCTION: Final = frozenset({"42883", "3F000"})
NO_RIGHT: Final = "42501"


@dataclass(frozen=True, slots=True)
class Guest:
    """How one sort of connection calls the function; `waits`: its call is to be awaited."""

    call: Callable[[Any, str], Any]
    waits: bool


async def _asyncpg(connection: Any, requests: str) -> str:
    return await connection.fetchval(CALL.format("$1"), requests)


# 别人的连接也许设了自己的 row_factory，这里只要元组
def _tuples(_cursor: Any) -> Callable[[Any], Any]:
    return tuple


def _psycopg(connection: Any, requests: str) -> str:
    with connection.cursor(row_factory=_tuples) as cursor:
        return cursor.execute(CALL.format("%s"), (requests,)).fetchone()[0]


async def _psycopg_async(connection: Any, requests: str) -> str:
    async with connection.cursor(row_factory=_tuples) as cursor:
        await cursor.execute(CALL.format("%s"), (requests,))
        return (await cursor.fetchone())[0]


def _statement() -> Any:
    return sys.modules["sqlalchemy"].text(CALL.format(":requests"))


def _sqlalchemy(connection: Any, requests: str) -> str:
    return connection.execute(_statement(), {"requests": requests}).scalar_one()


async def _sqlalchemy_async(connection: Any, requests: str) -> str:
    return (await connection.execute(_statement(), {"requests": requests})).scalar_one()


# 会话借出它的连接：不经过会话，就不会替它把没写的对象先写下去
def _session(session: Any, requests: str) -> str:
    return _sqlalchemy(session.connection(), requests)


async def _session_async(session: Any, requests: str) -> str:
    return await _sqlalchemy_async(await session.connection(), requests)


GUESTS: Final[dict[tuple[str, str], Guest]] = {
    ("asyncpg", "Connection"): Guest(_asyncpg, waits=True),
    ("asyncpg", "PoolConnectionProxy"): Guest(_asyncpg, waits=True),
    ("psycopg", "Connection"): Guest(_psycopg, waits=False),
    ("psycopg", "AsyncConnection"): Guest(_psycopg_async, waits=True),
    ("sqlalchemy", "Connection"): Guest(_sqlalchemy, waits=False),
    ("sqlalchemy", "AsyncConnection"): Guest(_sqlalchemy_async, waits=True),
    ("sqlalchemy", "Session"): Guest(_session, waits=False),
    ("sqlalchemy", "scoped_session"): Guest(_session, waits=False),
    ("sqlalchemy", "AsyncSession"): Guest(_session_async, waits=True),
    ("sqlalchemy", "async_scoped_session"): Guest(_session_async, waits=True),
}


def guest_of(connection: object) -> Guest:
    """Return how this connection is used; InputError USAGE names what it is if that is none that we know."""
    for sort in type(connection).__mro__:
        found = GUESTS.get((sort.__module__.partition(".")[0], sort.__name__))
        if found is not None:
            return found
    what = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise InputError(Code.USAGE, reason=reasons.NO_GUEST(what=what))


def call(connection: object, requests: str) -> str:
    """Submit in the transaction of a connection that is not awaited; returns the answer. Errors as of `call_async`."""
    guest = guest_of(connection)
    if guest.waits:
        raise InputError(Code.USAGE, reason=reasons.GUEST_AWAITS)
    try:
        return guest.call(connection, requests)
    except Exception as error:
        _tell(error)
        raise


async def call_async(connection: object, requests: str) -> str:
    """The same for all; one that is not awaited holds up the event loop meanwhile, as all that its owner does with it.

    SetupError SCHEMA_BEHIND or DATABASE_RIGHTS if the function is not there or may not be called; other errors are the driver's own, whose
    transaction they ended.
    """
    guest = guest_of(connection)
    try:
        given: str | Awaitable[str] = guest.call(connection, requests)
        return given if isinstance(given, str) else await given
    except Exception as error:
        _tell(error)
        raise


def _tell(error: Exception) -> None:
    """驱动的错误是调用者的事，只有这两样他看了也不知道怎么办。"""
    state = _sqlstate(error)
    if state in NO_FUNCTION:
        raise SetupError(Code.SCHEMA_BEHIND, found=str(error), expected=FUNCTION) from error
    if state == NO_RIGHT:
        raise SetupError(Code.DATABASE_RIGHTS, reason=reasons.GUEST_RIGHTS(function=FUNCTION, error=error)) from error


def _sqlstate(error: Any) -> str | None:
    origin = getattr(error, "orig", None) or error
    return getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
