"""What keeps a worker from its work, in its own words: a broker that it cannot reach, plugins that failed, kinds that it lacks."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不提此列，它就为空


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE taskmill.workers ADD COLUMN troubles jsonb DEFAULT '{}' NOT NULL")


def downgrade() -> None:
    """Drop it; workers that run go on renewing only after they are started anew."""
    op.execute("ALTER TABLE taskmill.workers DROP COLUMN troubles")
