"""Indexes of large tables, built by a migration while the programs go on."""

from __future__ import annotations

from typing import Final

from alembic import context, op
from sqlalchemy import text

from taskmill.constants import SCHEMA

# 等的是更早的事务结束，不挡读写；仍有个头，免得一个忘了的事务让迁移永远等着
WAIT: Final = "1min"
VALID = text("""
select i.indisvalid from pg_index i join pg_class x on x.oid = i.indexrelid
where x.relnamespace = to_regnamespace(:schema) and x.relname = :name
""")


def build(name: str, definition: str) -> None:
    """Build the index `name` with CREATE INDEX CONCURRENTLY; `definition` is what follows its name.

    What the migration did before is committed first, so it has to be repeatable. An index that a try left invalid is
    built anew, a valid one stays. Printed SQL is for an empty database, and builds it in the transaction.
    """
    if context.is_offline_mode():
        op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {name} {definition}")
        return
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        valid = connection.execute(VALID, {"schema": SCHEMA, "name": name}).scalar()
        if valid:
            return
        before = connection.execute(text("show lock_timeout")).scalar_one()
        op.execute(f"set lock_timeout = '{WAIT}'")
        try:
            if valid is False:
                op.execute(f"DROP INDEX CONCURRENTLY {SCHEMA}.{name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} {definition}")
        finally:
            op.execute(f"set lock_timeout = '{before}'")
