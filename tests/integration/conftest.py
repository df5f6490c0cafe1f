"""An open database of one's own, for tests that need no more of a platform."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asyncpg import Pool

from taskmill.stores.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def pool(database: Database) -> Pool:
    return database.pool
