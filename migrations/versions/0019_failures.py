"""Failures by fingerprint: attempts that failed in the same way are one group, with a count and the newest tasks."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不提此列、不写此表：它们的失败不进任何组

UP = (
    "ALTER TABLE taskmill.task_attempts ADD COLUMN fingerprint TEXT",
    """
    CREATE TABLE taskmill.failures (
        fingerprint TEXT NOT NULL,
        kind TEXT NOT NULL,
        error_type TEXT NOT NULL,
        message TEXT NOT NULL,
        frame TEXT NOT NULL,
        queues TEXT[] NOT NULL,
        first_at timestamptz NOT NULL,
        last_at timestamptz NOT NULL,
        n BIGINT NOT NULL,
        task_ids UUID[] NOT NULL,
        CONSTRAINT failures_pkey PRIMARY KEY (fingerprint)
    )
    """,
    # 列表与清理：最近失败的在前
    "CREATE INDEX failures_last ON taskmill.failures (last_at, fingerprint)",
    # 一种类型的列表，与数它有多少组
    "CREATE INDEX failures_kind ON taskmill.failures (kind, last_at, fingerprint)",
)
DOWN = ("DROP TABLE taskmill.failures", "ALTER TABLE taskmill.task_attempts DROP COLUMN fingerprint")


def upgrade() -> None:
    """Add the table and the column."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; attempts keep their errors."""
    for statement in DOWN:
        op.execute(statement)
