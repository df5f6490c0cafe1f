"""Sequences: tasks of one key run one at a time, in the order in which their submits committed; and the state `blocked`."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序不认得 blocked，也不会传下一个：它们都换掉之前不要用序列与依赖，漏下的由 releaser 补

STATES = "'available', 'blocked', 'retryable', 'running', 'scheduled'"
BEFORE = "'available', 'retryable', 'running', 'scheduled'"


def _states(names: str) -> tuple[str, ...]:
    """约束先不验：旧的更严，原有的行都满足它。验在下一步，那时不挡着读写。"""
    return (
        # 换成更宽的：旧程序写的照样满足
        """
    -- squawk-ignore ban-drop-constraint
    ALTER TABLE taskmill.tasks DROP CONSTRAINT tasks_state_check
    """,
        f"ALTER TABLE taskmill.tasks ADD CONSTRAINT tasks_state_check CHECK (state in ({names})) NOT VALID",
    )


UP = (
    *_states(STATES),
    "ALTER TABLE taskmill.tasks ADD COLUMN sequence_key TEXT, ADD COLUMN sequence_no BIGINT, ADD COLUMN sequence_stop BOOLEAN",
    "ALTER TABLE taskmill.task_history ADD COLUMN sequence_key TEXT, ADD COLUMN sequence_no BIGINT, ADD COLUMN sequence_stop BOOLEAN",
    # 新列全是空的，这个部分索引也是：扫一遍活的任务，百万行不到一秒
    """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX tasks_sequence ON taskmill.tasks (sequence_key, sequence_no) WHERE sequence_key is not null
    """,
    # 提交者锁着这一行直到提交：号码的次序就是提交的次序。fresh：有新来的，还没有看过轮到谁
    """
    CREATE TABLE taskmill.sequences (
        key TEXT NOT NULL,
        last_no BIGINT NOT NULL,
        fresh BOOLEAN NOT NULL,
        CONSTRAINT sequences_pkey PRIMARY KEY (key)
    )
    """,
    """
    CREATE INDEX sequences_fresh ON taskmill.sequences (key) WHERE fresh
    """,
    # 轮到谁；只有短事务锁它，所以不与提交者的那一行合在一起
    """
    CREATE TABLE taskmill.sequence_turns (
        key TEXT NOT NULL,
        head UUID,
        CONSTRAINT sequence_turns_pkey PRIMARY KEY (key)
    )
    """,
    """
    CREATE INDEX sequence_turns_waiting ON taskmill.sequence_turns (key) WHERE head is null
    """,
    # 失败而要后面的等着的任务
    """
    CREATE TABLE taskmill.sequence_stops (
        task_id UUID NOT NULL,
        key TEXT NOT NULL,
        no BIGINT NOT NULL,
        at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT sequence_stops_pkey PRIMARY KEY (task_id)
    )
    """,
    """
    CREATE INDEX sequence_stops_key ON taskmill.sequence_stops (key, no)
    """,
)
DOWN = (
    "UPDATE taskmill.tasks SET state = 'scheduled' WHERE state = 'blocked'",
    *_states(BEFORE),
    "ALTER TABLE taskmill.tasks VALIDATE CONSTRAINT tasks_state_check",
    "DROP TABLE taskmill.sequence_stops",
    "DROP TABLE taskmill.sequence_turns",
    "DROP TABLE taskmill.sequences",
    "DROP INDEX taskmill.tasks_sequence",
    "ALTER TABLE taskmill.task_history DROP COLUMN sequence_stop, DROP COLUMN sequence_no, DROP COLUMN sequence_key",
    "ALTER TABLE taskmill.tasks DROP COLUMN sequence_stop, DROP COLUMN sequence_no, DROP COLUMN sequence_key",
)


def upgrade() -> None:
    """Add the state, columns, an index and the tables of sequences."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; what was blocked runs in any order, once it is due."""
    for statement in DOWN:
        op.execute(statement)
