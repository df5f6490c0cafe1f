"""Where a database stands in a chain of migrations. Every role and many a command asks; none of them waits for alembic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskmill import constants as c
from taskmill.errors import Code, SetupError, UnavailableError
from taskmill.stores import constants as sc
from taskmill.stores import wire
from taskmill.stores.schema.chain import CORE, VERSION_TABLE, Chain, Phase
from taskmill.stores.why import why

if TYPE_CHECKING:
    from taskmill.stores.database import Queryable


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where a database stands: revisions or None; `pending` counts those to come, `needed` those of them that expand.

    A program works while nothing needed is pending: contract migrations wait for the older programs to go. `ahead`: the
    database is newer than us; `readable` says whether it lets us work with it nevertheless.
    """

    current: str | None
    head: str
    pending: int
    ahead: bool
    needed: int = 0
    readable: bool = True


async def status(database_url: str, chain: Chain = CORE) -> MigrationStatus:
    """Read where the database stands; UnavailableError if it cannot be reached, other errors of asyncpg pass through."""
    try:
        connection = await wire.connect(database_url, command_timeout_s=c.COMMAND_TIMEOUT_S)
        try:
            return await standing(connection, chain)
        finally:
            await connection.close(timeout=sc.CANCEL_TIMEOUT_S)
    except OSError as error:
        raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason=why(error)) from error


async def standing(connection: Queryable, chain: Chain) -> MigrationStatus:
    """Read where the database of `connection` stands."""
    found = await current(connection, chain.version_table)
    known = chain.revisions()
    newest = chain.head()
    if found is not None and found not in known:
        reader = await _min_reader(connection, chain.name)
        return MigrationStatus(found, newest, 0, ahead=True, readable=reader in known)
    pending: Sequence[str] = chain.pending(found)
    needed = sum(chain.phase_of(revision) is Phase.EXPAND for revision in pending)
    return MigrationStatus(found, newest, len(pending), ahead=False, needed=needed)


async def verify(database_url: str) -> MigrationStatus:
    """Refuse to run on a database that does not fit: SetupError SCHEMA_BEHIND, or SCHEMA_AHEAD if we cannot read it."""
    found = await status(database_url)
    if found.ahead and not found.readable:
        raise SetupError(Code.SCHEMA_AHEAD, found=found.current, expected=found.head)
    if found.needed:
        raise SetupError(Code.SCHEMA_BEHIND, found=found.current or "empty", expected=found.head)
    return found


async def current(connection: Queryable, version_table: str = VERSION_TABLE) -> str | None:
    """Return the revision that `version_table` keeps, None if the database was never migrated."""
    if not await _exists(connection, version_table):
        return None
    value: str | None = await connection.fetchval(f"select version_num from {c.SCHEMA}.{version_table}")
    return value


async def _min_reader(connection: Queryable, name: str) -> str | None:
    """较新的迁移在此写明：认得这个版本的程序都能用现在的结构。"""
    if not await _exists(connection, "schema_info"):
        return None
    value: str | None = await connection.fetchval(f"select min_reader from {c.SCHEMA}.schema_info where chain = $1", name)
    return value


async def _exists(connection: Queryable, table: str) -> bool:
    """先问一声：没有迁移过的数据库不必每秒在它的日志里记一条错误。"""
    return await connection.fetchval("select to_regclass($1) is not null", f"{c.SCHEMA}.{table}") is True
