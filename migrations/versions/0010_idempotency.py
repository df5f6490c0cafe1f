"""What was answered to requests with an Idempotency-Key, kept for a day."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不看这个请求头，也就不碰这张表

UP = (
    """
    CREATE TABLE taskmill.idempotency_keys (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        request BYTEA NOT NULL,
        answer JSONB NOT NULL,
        ref UUID NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (owner, key)
    )
    """,
    "CREATE INDEX idempotency_keys_created ON taskmill.idempotency_keys (created_at)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop it; repeated requests are new ones then."""
    op.execute("DROP TABLE taskmill.idempotency_keys")
