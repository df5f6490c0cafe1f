"""Unique tasks: the key of a task that may be there once only, and keys that are held beyond the end of their task."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作：它写的任务没有键，它结算的任务把键丢在身后，索引随之放开

UP = (
    "ALTER TABLE taskmill.tasks ADD COLUMN unique_key TEXT, ADD COLUMN unique_while TEXT",
    "ALTER TABLE taskmill.task_history ADD COLUMN unique_key TEXT, ADD COLUMN unique_while TEXT",
    # 谁是重复的由索引说了算。列刚加上，一行也没有：只需扫一遍活的任务，百万行不到一秒，不必 CONCURRENTLY
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE UNIQUE INDEX tasks_unique ON taskmill.tasks (unique_key)
        WHERE unique_key is not null and (unique_while = 'live' or claim_no = 0)
    """,
    """
    CREATE TABLE taskmill.unique_keys (
        key TEXT NOT NULL,
        task_id UUID NOT NULL,
        until timestamptz NOT NULL,
        CONSTRAINT unique_keys_pkey PRIMARY KEY (key)
    )
    """,
    "CREATE INDEX unique_keys_until ON taskmill.unique_keys (until)",
    "ALTER TABLE taskmill.kinds ADD COLUMN controls JSONB DEFAULT '{}' NOT NULL",
)
DOWN = (
    "ALTER TABLE taskmill.kinds DROP COLUMN controls",
    "DROP TABLE taskmill.unique_keys",
    "DROP INDEX taskmill.tasks_unique",
    "ALTER TABLE taskmill.task_history DROP COLUMN unique_while, DROP COLUMN unique_key",
    "ALTER TABLE taskmill.tasks DROP COLUMN unique_while, DROP COLUMN unique_key",
)


def upgrade() -> None:
    """Add the columns, the index and the table."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; tasks that were unique go on as ordinary ones."""
    for statement in DOWN:
        op.execute(statement)
