"""Bringing a database to the schema of this program, core first, then each plugin's own chain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from taskmill import constants as c
from taskmill.errors import Code, NotFoundError, SetupError
from taskmill.stores.database import Database
from taskmill.stores.schema import migrations
from taskmill.stores.schema.chain import Phase, chain_of
from taskmill.stores.schema.migrations import Applied
from taskmill.stores.tasks.partitions import can_ensure, ensure_partitions


class MigrationResult(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """What a migration did: where the core stood and stands, how many revisions ran in all chains, how long it took.

    `ahead`: the database is newer than this program in some chain, and was left alone there.
    """

    before: str | None
    after: str | None
    ahead: bool
    applied: int
    ms: int
    phase: str
    partitions: int = 0
    plugins: dict[str, Any] = {}


async def migrate_up(
    database_url: str,
    revision: str | None = None,
    *,
    phase: str = Phase.ALL,
    allow_ahead: bool = False,
    plugins: Mapping[str, Path] | None = None,
    wait_s: float = c.MIGRATION_LOCK_TIMEOUT_S,
    without: Callable[[str, SetupError], object] | None = None,
) -> MigrationResult:
    """Migrate the core (to `revision`, else to where `phase` ends), then the plugins, and make the coming partitions.

    A plugin whose migration fails stops no other; then `without` is told of it, or at the end the first such error is raised.
    Raises SetupError MIGRATION_LOCKED, MIGRATION_FAILED, SCHEMA_AHEAD, UnavailableError DATABASE_UNAVAILABLE.
    """
    began = time.monotonic()
    part = Phase(phase)
    core = await migrations.apply(database_url, phase=part, revision=revision, allow_ahead=allow_ahead, wait_s=wait_s)
    others: dict[str, Applied] = {}
    broken: dict[str, SetupError] = {}
    for name, versions in sorted((plugins or {}).items()):
        chain = chain_of(name, versions)
        try:
            others[name] = await migrations.apply(database_url, chain, phase=part, allow_ahead=allow_ahead, wait_s=wait_s)
        except SetupError as error:
            if error.code is not Code.MIGRATION_FAILED:
                raise
            broken[name] = error
    made = 0 if core.ahead else await _partitions(database_url)
    for name, error in broken.items():
        if without is None:
            raise error
        without(name, error)
    return MigrationResult(
        before=core.before,
        after=core.after,
        ahead=core.ahead or any(other.ahead for other in others.values()),
        applied=len(core.revisions) + sum(len(other.revisions) for other in others.values()),
        ms=round((time.monotonic() - began) * 1000),
        phase=part.value,
        partitions=made,
        plugins={name: {"from": other.before, "to": other.after} for name, other in others.items()},
    )


async def _partitions(database_url: str) -> int:
    database = Database(database_url, pool_size=2, orm_pool_size=1)
    await database.open()
    try:
        async with database.pool.acquire() as connection:
            return await ensure_partitions(connection, c.PARTITION_DAYS_AHEAD) if await can_ensure(connection) else 0
    finally:
        await database.close()


async def migrate_down(
    database_url: str, revision: str, *, plugin: str | None = None, plugins: Mapping[str, Path] | None = None
) -> None:
    """Migrate the core, or the chain of one plugin, down to `revision` (`base`: nothing left).

    Raises NotFoundError PLUGIN_NOT_FOUND if the plugin has no migrations; otherwise as `migrate_up`.
    """
    if plugin is None:
        await migrations.downgrade(database_url, revision)
        return
    versions = (plugins or {}).get(plugin)
    if versions is None:
        raise NotFoundError(Code.PLUGIN_NOT_FOUND, plugin=plugin)
    await migrations.downgrade(database_url, revision, chain=chain_of(plugin, versions))


def schema_sql(revision: str = "head") -> str:
    """Return the SQL that builds the core's schema from nothing up to `revision`."""
    return migrations.sql(revision)
