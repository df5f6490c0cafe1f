"""Histograms of waits and runs in the rollups, packed into a number each (stores/queues/histogram.py); an index by queue."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不写这两列：它们结束的任务只是不在分布里

UP = (
    "ALTER TABLE taskmill.rollups ADD COLUMN wait_hist NUMERIC DEFAULT 0 NOT NULL, ADD COLUMN run_hist NUMERIC DEFAULT 0 NOT NULL",
    # 每分钟几行的小表，建它只要一会儿；期间结算等着，重试自己会来
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX rollups_queue ON taskmill.rollups (queue, minute)
    """,
)
DOWN = (
    "DROP INDEX taskmill.rollups_queue",
    "ALTER TABLE taskmill.rollups DROP COLUMN run_hist, DROP COLUMN wait_hist",
)


def upgrade() -> None:
    """Add the columns and the index."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; sums stay."""
    for statement in DOWN:
        op.execute(statement)
