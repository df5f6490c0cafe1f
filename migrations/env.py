"""Alembic environment: runs on the connection that `taskmill.stores.migrations` gives it, or prints SQL."""

from __future__ import annotations

from alembic import context

from taskmill.constants import SCHEMA
from taskmill.models.base import metadata

config = context.config
OPTIONS = {
    "target_metadata": metadata,
    "version_table": config.attributes["version_table"],
    "version_table_schema": SCHEMA,
    "include_schemas": True,
    "transaction_per_migration": True,
    "compare_type": True,
}


def include_name(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
    """Compare our schema only, and not the partitions that the pruner makes."""
    if kind == "schema":
        return name == SCHEMA
    if kind == "table" and parents.get("schema_name") == SCHEMA:
        return name in {table.name for table in metadata.tables.values()}
    return True


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        context.run_migrations()
else:
    context.configure(connection=config.attributes["connection"], include_name=include_name, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
