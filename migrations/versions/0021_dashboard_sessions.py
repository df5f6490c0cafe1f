"""Who is logged in to the dashboard: hashes of tokens, with their key and their end."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序没有界面，也就不碰这张表

UP = (
    """
    CREATE TABLE taskmill.dashboard_sessions (
        id UUID NOT NULL,
        token_hash BYTEA NOT NULL,
        key_id UUID,
        user_agent TEXT,
        created_at timestamptz DEFAULT now() NOT NULL,
        seen_at timestamptz DEFAULT now() NOT NULL,
        expires_at timestamptz NOT NULL,
        CONSTRAINT dashboard_sessions_pkey PRIMARY KEY (id)
    )
    """,
    "CREATE UNIQUE INDEX dashboard_sessions_token ON taskmill.dashboard_sessions (token_hash)",
    "CREATE INDEX dashboard_sessions_key ON taskmill.dashboard_sessions (key_id)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop it; everybody logs in again."""
    op.execute("DROP TABLE taskmill.dashboard_sessions")
