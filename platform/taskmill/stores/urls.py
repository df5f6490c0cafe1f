"""One database URL, written for each driver."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def asyncpg_url(database_url: str) -> str:
    """Return the URL for asyncpg: `postgresql://…` without a driver suffix."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(scheme="postgresql"))


def sqlalchemy_url(database_url: str) -> str:
    """Return the URL for SQLAlchemy: `postgresql+asyncpg://…`."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(scheme="postgresql+asyncpg"))


def masked(url: str) -> str:
    """Return the URL with its password replaced, for logs and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rsplit("@", 1)[1]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))
