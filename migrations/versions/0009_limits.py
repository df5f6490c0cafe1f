"""Limits of a queue: how many of its tasks run at once, in all and for each key, how many start in a time, how many wait."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作，只是不理会上限：上限要到它们都换掉之后才作数

UP = (
    # queues 只有几千行，为生成列重写它一瞬即成
    """
    ALTER TABLE taskmill.queues
        ADD COLUMN max_running INTEGER,
        ADD COLUMN max_running_per_key INTEGER,
        ADD COLUMN rate JSONB,
        ADD COLUMN max_backlog INTEGER,
        ADD COLUMN limited BOOLEAN NOT NULL
            -- squawk-ignore adding-field-with-default
            GENERATED ALWAYS AS (max_running is not null or max_running_per_key is not null or rate is not null) STORED
    """,
    "ALTER TABLE taskmill.tasks ADD COLUMN concurrency_key TEXT, ADD COLUMN slot SMALLINT",
    "ALTER TABLE taskmill.task_history ADD COLUMN concurrency_key TEXT",
    # 新列全是空的，这些部分索引也是：各扫一遍活的任务，百万行不到一秒。只有两个：每写一行，它们的条件都要算一遍
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX tasks_slots ON taskmill.tasks (queue, slot, priority, id) WHERE slot >= 1
    """,
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX tasks_slots_by_key ON taskmill.tasks (queue, concurrency_key, slot, priority, id)
        WHERE slot is not null and concurrency_key is not null
    """,
    # 被上限挡着的行没有票，但不归 stager 补：不在索引里，才不会每一轮都扫过它们
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX tasks_ticketless ON taskmill.tasks (queue, priority, id)
        WHERE state = 'available' and ticket_at is null and (slot is null or slot = 2)
    """,
    # queues 只有几千行，建索引一瞬即成
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX queues_barred ON taskmill.queues (name) WHERE paused_at is not null or limited
    """,
    """
    CREATE TABLE taskmill.rate_buckets (
        queue TEXT NOT NULL,
        tokens DOUBLE PRECISION NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT rate_buckets_pkey PRIMARY KEY (queue)
    )
    """,
)
DOWN = (
    "DROP TABLE taskmill.rate_buckets",
    "DROP INDEX taskmill.queues_barred",
    "DROP INDEX taskmill.tasks_ticketless",
    "DROP INDEX taskmill.tasks_slots_by_key",
    "DROP INDEX taskmill.tasks_slots",
    "ALTER TABLE taskmill.task_history DROP COLUMN concurrency_key",
    "ALTER TABLE taskmill.tasks DROP COLUMN slot, DROP COLUMN concurrency_key",
    """
    ALTER TABLE taskmill.queues
        DROP COLUMN limited, DROP COLUMN max_backlog, DROP COLUMN rate, DROP COLUMN max_running_per_key, DROP COLUMN max_running
    """,
)


def upgrade() -> None:
    """Add columns, indexes and the table of buckets."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; what was held runs as the workers come to it."""
    for statement in DOWN:
        op.execute(statement)
