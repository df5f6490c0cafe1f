"""Histograms of waits and runs in the rollups, packed into a number each (stores/queues/histogram.py); an index by queue."""

from __future__ import annotations

from alembic import op

from taskmill.stores.schema import indexes

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不写这两列：它们结束的任务只是不在分布里

COLUMNS = """
    ALTER TABLE taskmill.rollups
        ADD COLUMN IF NOT EXISTS wait_hist NUMERIC DEFAULT 0 NOT NULL,
        ADD COLUMN IF NOT EXISTS run_hist NUMERIC DEFAULT 0 NOT NULL
"""
DOWN = (
    "DROP INDEX taskmill.rollups_queue",
    "ALTER TABLE taskmill.rollups DROP COLUMN run_hist, DROP COLUMN wait_hist",
)


def upgrade() -> None:
    """Add the columns, and the index while the programs go on."""
    op.execute(COLUMNS)
    indexes.build("rollups_queue", "ON taskmill.rollups (queue, minute)")


def downgrade() -> None:
    """Drop them; sums stay."""
    for statement in DOWN:
        op.execute(statement)
