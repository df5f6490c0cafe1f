"""One database URL, written for each driver."""

from __future__ import annotations

from urllib.parse import quote

from taskmill.urls import parse_database_url


def asyncpg_url(database_url: str) -> str:
    """Return the URL for asyncpg: `postgresql://…` without a driver suffix; UrlError, a ValueError, without a word of it."""
    found = parse_database_url(database_url)
    return f"postgresql://{found.account}{found.hosts}{found.path}{found.query}"


def sqlalchemy_url(database_url: str) -> str:
    """Return the URL for SQLAlchemy: `postgresql+asyncpg://…`; UrlError without a word of it.

    Parameters (`?sslmode=require`) and several hosts travel in a DSN: SQLAlchemy would hand them to `asyncpg.connect` as
    keywords it has not, and knows one host only.
    """
    found = parse_database_url(database_url)
    several = "," in found.hosts
    made = f"postgresql+asyncpg://{found.account}{'' if several else found.hosts}{found.path}"
    if not found.query and not several:
        return made
    # 用户与密码不必再说一遍，也就不会出现在 DSN 里
    dsn = f"postgresql://{found.hosts}{found.path}{found.query}"
    return f"{made}?dsn={quote(dsn, safe='')}"
