"""The rate of each key in a queue: a setting, its buckets, and the functions that know of it."""

from __future__ import annotations

from alembic import context, op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作，只是不理会这个上限：要到它们都换掉之后才作数

BEFORE = "max_running is not null or max_running_per_key is not null or rate is not null"
AFTER = f"{BEFORE} or rate_per_key is not null"
KEYED = "target.max_running_per_key IS NOT NULL AND"
KEYED_AFTER = "(target.max_running_per_key IS NOT NULL OR target.rate_per_key IS NOT NULL) AND"
INDEX = """
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX queues_barred ON taskmill.queues (name) WHERE paused_at is not null or limited
"""
# PostgreSQL 17 之前改不了生成列的表达式，只能换一列。在一个事务里，谁也看不到中间；queues 只有几千行，一瞬即成
UP = (
    # squawk 只看得见删列，看不见同一事务里又有了
    """
    -- squawk-ignore ban-drop-column
    ALTER TABLE taskmill.queues DROP COLUMN limited
    """,
    f"""
    ALTER TABLE taskmill.queues
        ADD COLUMN rate_per_key JSONB,
        ADD COLUMN limited BOOLEAN NOT NULL
            -- squawk-ignore adding-field-with-default
            GENERATED ALWAYS AS ({AFTER}) STORED
    """,
    INDEX,
    """
    CREATE TABLE taskmill.key_rate_buckets (
        queue TEXT NOT NULL,
        key TEXT NOT NULL,
        tokens DOUBLE PRECISION NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT key_rate_buckets_pkey PRIMARY KEY (queue, key)
    )
    """,
)
DOWN = (
    "DROP TABLE taskmill.key_rate_buckets",
    "ALTER TABLE taskmill.queues DROP COLUMN limited, DROP COLUMN rate_per_key",
    f"ALTER TABLE taskmill.queues ADD COLUMN limited BOOLEAN NOT NULL GENERATED ALWAYS AS ({BEFORE}) STORED",
    INDEX,
)


def _submit_task(text: str) -> str:
    """`submit_task` of 0011, that lines tasks up by key whichever limit of keys there is."""
    made: str = context.script.get_revision("0011").module.SUBMIT
    if made.count(KEYED) != 1:
        message = "submit_task of 0011 is not the one that this migration knows"
        raise RuntimeError(message)
    return made.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(KEYED, text)


def upgrade() -> None:
    """Add the column and the table, and let `limited` and `submit_task` know of them."""
    for statement in UP:
        op.execute(statement)
    op.execute(_submit_task(KEYED_AFTER))


def downgrade() -> None:
    """Drop them; what this rate held runs as the other limits let it."""
    op.execute(_submit_task(KEYED))
    for statement in DOWN:
        op.execute(statement)
