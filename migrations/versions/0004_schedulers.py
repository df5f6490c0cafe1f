"""Which schedulers live: a row per process, kept alive by a lease as those of workers are."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作：只加一张表

UP = """
    CREATE TABLE taskmill.schedulers (
        id UUID NOT NULL,
        hostname TEXT NOT NULL,
        pid INTEGER NOT NULL,
        version TEXT NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT schedulers_pkey PRIMARY KEY (id)
    )
    """


def upgrade() -> None:
    """Add the table."""
    op.execute(UP)


def downgrade() -> None:
    """Drop it; schedulers that run say nothing of themselves then."""
    op.execute("DROP TABLE taskmill.schedulers")
