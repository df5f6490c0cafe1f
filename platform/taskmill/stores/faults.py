"""Tell "the database is away" from every other fault, for all drivers in use."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmill.stores.database import AWAY

_ALWAYS = (*AWAY, PoolTimeoutError, DisconnectionError)
# 库还没迁移、历史分区缺失：都要等人或循环来修，请求方稍后再试
_NOT_PREPARED = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


def is_away(error: BaseException) -> bool:
    """Say whether `error` means that PostgreSQL cannot be reached or refuses work for now."""
    if isinstance(error, DBAPIError):
        cause = error.orig.__cause__ if error.orig is not None else None
        return (
            isinstance(error, OperationalError | InterfaceError)
            or error.connection_invalidated
            or (cause is not None and is_away(cause))
        )
    if isinstance(error, asyncpg.CheckViolationError):
        return error.constraint_name is None  # 没有约束名 = 没有可放的分区
    return isinstance(error, (*_ALWAYS, *_NOT_PREPARED))
