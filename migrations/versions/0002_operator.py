"""What an operator needs: pods and orders of workers, causes of death, queue retention, who may read the schema."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作：只加列与表，新列都有默认值

UP = (
    """
    ALTER TABLE taskmill.workers
        ADD COLUMN pod TEXT,
        ADD COLUMN pod_uid TEXT,
        ADD COLUMN bundle TEXT,
        ADD COLUMN ready BOOLEAN DEFAULT false NOT NULL,
        ADD COLUMN order_kind TEXT DEFAULT 'run' NOT NULL,
        ADD COLUMN order_token BIGINT DEFAULT 0 NOT NULL,
        ADD COLUMN order_no BIGINT DEFAULT 0 NOT NULL,
        ADD COLUMN order_seen BIGINT DEFAULT 0 NOT NULL,
        ADD COLUMN death_cause TEXT
    """,
    """
    ALTER TABLE taskmill.queues ADD COLUMN retention_s INTEGER
    """,
    # 每次结算都要问哪些队列不留历史；queues 只有几千行，建索引一瞬即成，不必 CONCURRENTLY
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX queues_unretained ON taskmill.queues (name) WHERE retention_s = 0
    """,
    """
    ALTER TABLE taskmill.kinds ADD COLUMN on_oom_queue TEXT
    """,
    """
    CREATE TABLE taskmill.schema_info (
        chain TEXT NOT NULL,
        min_reader TEXT NOT NULL,
        CONSTRAINT schema_info_pkey PRIMARY KEY (chain)
    )
    """,
    """
    INSERT INTO taskmill.schema_info (chain, min_reader) VALUES ('taskmill', '0001')
    """,
)

DOWN = (
    "DROP TABLE taskmill.schema_info",
    "ALTER TABLE taskmill.kinds DROP COLUMN on_oom_queue",
    "DROP INDEX taskmill.queues_unretained",
    "ALTER TABLE taskmill.queues DROP COLUMN retention_s",
    """
    ALTER TABLE taskmill.workers
        DROP COLUMN death_cause, DROP COLUMN order_seen, DROP COLUMN order_no, DROP COLUMN order_token,
        DROP COLUMN order_kind, DROP COLUMN ready, DROP COLUMN bundle, DROP COLUMN pod_uid, DROP COLUMN pod
    """,
)


def upgrade() -> None:
    """Add the columns and the table of readers."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; orders and retention are lost, tasks are not."""
    for statement in DOWN:
        op.execute(statement)
