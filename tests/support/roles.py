"""Login roles of single tests: what a DBA makes for a program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from tests.support.databases import execute, in_thread

PASSWORD = "secret"


def as_role(url: str, role: str, password: str = PASSWORD) -> str:
    """Return `url` for another user."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


@contextmanager
def temporary_role(url: str, *grants: str, options: str = "") -> Iterator[str]:
    """Make a role that may log in, run `grants` (`{role}` is its name) as the administrator, yield its name, drop it."""
    role = f"r_{uuid4().hex[:12]}"
    made = (f"create role {role} login password '{PASSWORD}' {options}", *(grant.format(role=role) for grant in grants))
    try:
        in_thread(execute(url, *made))
        yield role
    finally:
        in_thread(execute(url, f"drop owned by {role} cascade", f"drop role {role}"))


@asynccontextmanager
async def connected(url: str, *grants: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of such a role."""
    with temporary_role(url, *grants) as role:
        connection = await asyncpg.connect(as_role(url, role))
        try:
            yield connection
        finally:
            await connection.close()
