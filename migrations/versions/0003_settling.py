"""Workers say which of their tasks have ended while the outcome is still to be written."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作：只加一列，有默认值

UP = "ALTER TABLE taskmill.workers ADD COLUMN settling UUID[] DEFAULT '{}' NOT NULL"
DOWN = "ALTER TABLE taskmill.workers DROP COLUMN settling"


def upgrade() -> None:
    """Add the column."""
    op.execute(UP)


def downgrade() -> None:
    """Drop it; the rescuer of the older program does not look at it."""
    op.execute(DOWN)
