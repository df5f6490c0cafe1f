"""What the platform itself says of an attempt, in Chinese beside the English: each language in a column of its own."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不提此列，它就为空


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE taskmill.task_attempts ADD COLUMN message_zh text")


def downgrade() -> None:
    """Drop it; what was said in Chinese is lost, the English stays."""
    op.execute("ALTER TABLE taskmill.task_attempts DROP COLUMN message_zh")
