"""What errors of the drivers mean to a person."""

from __future__ import annotations

import ssl

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from taskmill import reasons
from taskmill.errors import Code, SetupError, TaskmillError, UnavailableError
from taskmill.stores.broker.tickets import BROKER_AWAY
from taskmill.stores.sqlstates import DATABASE_URL, coded, meaning
from taskmill.urls import UrlError


def translate(error: BaseException) -> TaskmillError | None:
    """Return the coded error that `error` of a driver stands for, None if it is a bug or something else.

    The server's faults are answered with 503, a user's with 422; the table is `sqlstates.MEANINGS`.
    """
    if isinstance(error, PoolTimeoutError):
        return UnavailableError(Code.DATABASE_UNAVAILABLE, reason=reasons.POOL_FULL)
    if isinstance(error, UrlError):
        return SetupError(Code.CONFIG_INVALID, field=DATABASE_URL, reason=error.reason)
    cause = _driver_error(error)
    known = coded(cause)
    if known is not None:
        return known
    words = str(cause) or type(cause).__name__
    if isinstance(cause, OSError | TimeoutError) or _invalidated(error):
        return UnavailableError(Code.DATABASE_UNAVAILABLE, reason=words)
    if isinstance(cause, BROKER_AWAY):
        return UnavailableError(Code.BROKER_UNAVAILABLE, reason=words)
    return None


def hopeless(error: BaseException) -> bool:
    """Say whether waiting will not change the answer: wrong password, no such database or role, a certificate not trusted."""
    seen: BaseException | None = error
    while seen is not None:
        cause = _driver_error(seen)
        found = meaning(cause)
        if isinstance(cause, ssl.SSLCertVerificationError | SetupError) or (found is not None and found.hopeless):
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
