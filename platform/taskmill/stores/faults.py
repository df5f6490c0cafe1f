"""What errors of the drivers mean to a person."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmill import constants as c
from taskmill.errors import Code, InputError, SetupError, TaskmillError, UnavailableError
from taskmill.stores.database import AWAY
from taskmill.stores.tickets import BROKER_AWAY

REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
UNMIGRATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)


def translate(error: BaseException) -> TaskmillError | None:  # noqa: PLR0911 - 一行一种故障
    """Return the coded error that `error` of a driver stands for, None if it is a bug or something else."""
    if isinstance(error, PoolTimeoutError):
        return UnavailableError(Code.DATABASE_UNAVAILABLE, reason="no free connection / 连接池已满")
    cause = _driver_error(error)
    words = str(cause) or type(cause).__name__
    if isinstance(cause, UNMIGRATED):
        return SetupError(Code.SCHEMA_BEHIND, found=words, expected="taskmill migrate up")
    if isinstance(cause, asyncpg.QueryCanceledError):
        reason = f"too broad, took over {c.LIST_TIMEOUT} / 范围过大，超时"
        return InputError(Code.INVALID_REQUEST, field="query", reason=reason)
    if isinstance(cause, AWAY) or _invalidated(error) or _no_partition(cause):
        return UnavailableError(Code.DATABASE_UNAVAILABLE, reason=words)
    if isinstance(cause, asyncpg.DataError):
        return InputError(Code.INVALID_REQUEST, field="request", reason=words)
    if isinstance(cause, BROKER_AWAY):
        return UnavailableError(Code.BROKER_UNAVAILABLE, reason=words)
    return None


def hopeless(error: BaseException) -> bool:
    """Say whether PostgreSQL answered, and waiting will not change its answer: wrong password, no such database or role."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(_driver_error(seen), REFUSED):
            return True
        seen = seen.__cause__
    return False


def _driver_error(error: BaseException) -> BaseException:
    """SQLAlchemy 把 asyncpg 的异常包了两层。"""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _invalidated(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _no_partition(cause: BaseException) -> bool:
    """23514 而没有约束名：没有可放的分区，等分区补上。"""
    return isinstance(cause, asyncpg.CheckViolationError) and getattr(cause, "constraint_name", None) is None
