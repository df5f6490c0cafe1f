"""How far a token bucket fills: tasks that were given a token and have not started stand for the rest."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不写这一列，只会让桶一时满得少些，新程序下一轮就改正

TABLES = ("rate_buckets", "key_rate_buckets")


def upgrade() -> None:
    """Add the column; null is a whole burst."""
    for table in TABLES:
        op.execute(f"ALTER TABLE taskmill.{table} ADD COLUMN ceiling DOUBLE PRECISION")


def downgrade() -> None:
    """Drop it."""
    for table in TABLES:
        op.execute(f"ALTER TABLE taskmill.{table} DROP COLUMN ceiling")
