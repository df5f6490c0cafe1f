"""Indexes of large tables, built by a migration while the programs go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
HISTORY: Final = f"{SCHEMA}.task_history"
# 还没有这个索引的分区
BARE = text("""
select c.relname from pg_inherits p join pg_class c on c.oid = p.inhrelid
where p.inhparent = to_regclass(:parent) and not exists (
  select from pg_index x join pg_inherits i on i.inhrelid = x.indexrelid
  where x.indrelid = c.oid and i.inhparent = to_regclass(:name))
order by c.relname
""")


def build(name: str, definition: str) -> None:
    """Build the index `name` with CREATE INDEX CONCURRENTLY; `definition` is what follows its name.

    What the migration did before is committed first, so it has to be repeatable. An index that a try left invalid is
    built anew, a valid one stays. Printed SQL is for an empty database, and builds it in the transaction.
    """
    if context.is_offline_mode():
        op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {name} {definition}")
        return
    with _patient():
        _build(name, definition)


def build_on_history(name: str, definition: str) -> None:
    """Build an index of the history as `build` does: on each partition, then as one; `definition` is what follows the table.

    `name` begins with the name of the table. Partitions that are made meanwhile have it from the start.
    """
    if context.is_offline_mode():
        op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {name} ON {HISTORY} {definition}")
        return
    with _patient():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY {HISTORY} {definition}")
        facts = {"parent": HISTORY, "name": f"{SCHEMA}.{name}"}
        for partition in op.get_bind().execute(BARE, facts).scalars().all():
            part = f"{partition}_{name.removeprefix('task_history_')}"
            _build(part, f"ON {SCHEMA}.{partition} {definition}")
            op.execute(f"ALTER INDEX {SCHEMA}.{name} ATTACH PARTITION {SCHEMA}.{part}")


@contextmanager
def _patient() -> Iterator[None]:
    """在事务之外，等得久一点。"""
    with op.get_context().autocommit_block():
        before = op.get_bind().execute(text("show lock_timeout")).scalar_one()
        op.execute(f"set lock_timeout = '{WAIT}'")
        try:
            yield
        finally:
            op.execute(f"set lock_timeout = '{before}'")


def _build(name: str, definition: str) -> None:
    valid = op.get_bind().execute(VALID, {"schema": SCHEMA, "name": name}).scalar()
    if valid:
        return
    if valid is False:
        op.execute(f"DROP INDEX CONCURRENTLY {SCHEMA}.{name}")
    op.execute(f"CREATE INDEX CONCURRENTLY {name} {definition}")
