"""Whether the schema of a database fits this program. It only reads; `services/setup.py` changes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from taskmill.stores.schema import standing
from taskmill.stores.schema.chain import CORE, chain_of
from taskmill.stores.schema.standing import MigrationStatus

if TYPE_CHECKING:
    from taskmill.services.keys import KeyService


async def migration_status(database_url: str, *, plugins: Mapping[str, Path] | None = None) -> dict[str, MigrationStatus]:
    """Return where the core (`taskmill`) and each plugin's chain stand; UnavailableError DATABASE_UNAVAILABLE."""
    found = {CORE.name: await standing.status(database_url)}
    for name, versions in sorted((plugins or {}).items()):
        found[name] = await standing.status(database_url, chain_of(name, versions))
    return found


async def behind(database_url: str, plugins: Mapping[str, Path]) -> dict[str, MigrationStatus]:
    """Return the plugins whose own tables do not fit: migrations that they need are pending, or they cannot read what is there.

    UnavailableError DATABASE_UNAVAILABLE.
    """
    found = {
        name: await standing.status(database_url, chain_of(name, versions)) for name, versions in sorted(plugins.items())
    }
    return {name: chain for name, chain in found.items() if chain.needed or not chain.readable}


async def verify(database_url: str) -> None:
    """Refuse to run on a schema that does not fit: SetupError SCHEMA_BEHIND, or SCHEMA_AHEAD and not readable for us."""
    await standing.verify(database_url)


@asynccontextmanager
async def keys_of(database_url: str) -> AsyncIterator[KeyService]:
    """Give the keys of a database whose schema fits, without the rest of a platform; errors as in `verify`."""
    from taskmill.services.keys import KeyService  # noqa: PLC0415 - 只问版本的不必为连接池与模型等
    from taskmill.stores.database import Database  # noqa: PLC0415

    await verify(database_url)
    database = Database(database_url, pool_size=2, orm_pool_size=1)
    await database.open()
    try:
        yield KeyService(database)
    finally:
        await database.close()
