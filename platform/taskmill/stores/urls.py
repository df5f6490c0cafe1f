"""One database URL, written for each driver."""

from __future__ import annotations

from urllib.parse import SplitResult, quote, urlsplit, urlunsplit


def _split(database_url: str) -> SplitResult:
    """拆开；端口不是数字多半是密码没有编码，驱动的报错会带出它的片段。"""
    try:
        parts = urlsplit(database_url)
        _ = parts.port
    except ValueError:
        message = "not a URL; percent-encode special characters of the password / 不是网址；密码里的特殊字符要用百分号编码"
        raise ValueError(message) from None
    return parts


def asyncpg_url(database_url: str) -> str:
    """Return the URL for asyncpg: `postgresql://…` without a driver suffix; ValueError without a word of it."""
    parts = _split(database_url)
    return urlunsplit(parts._replace(scheme="postgresql"))


def sqlalchemy_url(database_url: str) -> str:
    """Return the URL for SQLAlchemy: `postgresql+asyncpg://…`; ValueError without a word of it.

    Parameters (`?sslmode=require`) travel in a DSN: SQLAlchemy would hand them to `asyncpg.connect` as keywords it has not.
    """
    parts = _split(database_url)
    made = parts._replace(scheme="postgresql+asyncpg")
    if not parts.query:
        return urlunsplit(made)
    # 用户与密码不必再说一遍，也就不会出现在 DSN 里
    dsn = urlunsplit(parts._replace(scheme="postgresql", netloc=parts.netloc.rpartition("@")[2]))
    return urlunsplit(made._replace(query=f"dsn={quote(dsn, safe='')}"))


def masked(url: str) -> str:
    """Return the URL with its password replaced, for logs and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rsplit("@", 1)[1]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))
