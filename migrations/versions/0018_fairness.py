"""Fairness keys: in one queue and priority, keys take turns however many tasks each has; and `submit_task` takes them."""

from __future__ import annotations

from alembic import context, op

from taskmill.stores.schema import indexes

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作，只是不理会公平键：它们放行、补票的不按轮次

COLUMNS = (
    "ALTER TABLE taskmill.tasks ADD COLUMN IF NOT EXISTS fairness_key TEXT",
    "ALTER TABLE taskmill.task_history ADD COLUMN IF NOT EXISTS fairness_key TEXT",
)
INDEX = """ON taskmill.tasks
        (coalesce(state, ''), coalesce(slot, '-1'), queue, priority, fairness_key, id)
        WHERE fairness_key is not null and worker_id is null"""
TABLE = """
    CREATE TABLE taskmill.fairness_turns (
        queue TEXT NOT NULL,
        priority SMALLINT NOT NULL,
        key TEXT NOT NULL,
        CONSTRAINT fairness_turns_pkey PRIMARY KEY (queue, priority)
    )
"""
# 先放开等着轮到的，再删找得到它们的索引
DOWN = (
    """
    UPDATE taskmill.tasks SET slot = NULL
    WHERE fairness_key is not null and worker_id is null and coalesce(state, '') = 'available' and coalesce(slot, '-1') = 3
    """,
    "DROP TABLE taskmill.fairness_turns",
    "DROP INDEX taskmill.tasks_fair",
    "ALTER TABLE taskmill.task_history DROP COLUMN fairness_key",
    "ALTER TABLE taskmill.tasks DROP COLUMN fairness_key",
)
NAMES = "'version', 'queue', 'priority', 'run_at',"
KEYS = "ARRAY['unique_key', 'concurrency_key', 'sequence_key']"
TEXTS = "'unique_key', 'concurrency_key', 'created_by',"
CHECKED = (
    (NAMES, f"{NAMES} 'fairness_key',"),
    (KEYS, "ARRAY['unique_key', 'concurrency_key', 'sequence_key', 'fairness_key']"),
    (TEXTS, f"{TEXTS} 'fairness_key',"),
)
GROUP = """        group_key := options ->> 'concurrency_key';
        IF group_key IS NULL AND known.controls #>> '{concurrency,key}' IS NOT NULL THEN
            group_key := known.controls #>> '{concurrency,key}';
            FOR part IN SELECT m[1] FROM regexp_matches(group_key, '\\{([^{}]*)\\}', 'g') m LOOP
                IF jsonb_typeof(args #> string_to_array(part, '.')) IS NULL OR jsonb_typeof(args #> string_to_array(part, '.')) IN ('object', 'array', 'null') THEN
                    PERFORM taskmill.submit_failed('INVALID_REQUEST', 'concurrency_key: the args have no ' || part, 'concurrency_key：参数里没有 ' || part);
                END IF;
                group_key := replace(group_key, '{' || part || '}', args #>> string_to_array(part, '.'));
            END LOOP;
        END IF;
"""
TURN = GROUP.replace("group_key", "turn_key").replace("concurrency", "fairness")
LINE = "CASE WHEN target.limited AND NOT waits AND due <= now() THEN CASE WHEN "
SUBMITTED = (
    ("        group_key text;\n", "        group_key text;\n        turn_key text;\n"),
    (GROUP, GROUP + TURN),
    ("sequence_key, sequence_no, sequence_stop)", "sequence_key, sequence_no, sequence_stop, fairness_key)"),
    (LINE, LINE.replace("target.limited", "(target.limited OR turn_key IS NOT NULL)")),
    ("THEN 0 ELSE 1 END END,\n", "THEN 0 WHEN turn_key IS NOT NULL THEN 3 ELSE 1 END END,\n"),
    ("CASE WHEN options ->> 'sequence_on_failure' = 'stop' THEN true END)\n",
     "CASE WHEN options ->> 'sequence_on_failure' = 'stop' THEN true END, turn_key)\n"),
)  # fmt: skip


def _functions() -> tuple[str, str]:
    """`submit_checked` and `submit_task` of 0017."""
    before = context.script.get_revision("0017").module
    checked, submitted = before._before()  # noqa: SLF001 - 同一条链上的前一步
    return before._changed(checked, before.CHECKED), before._changed(submitted, before.SUBMITTED)  # noqa: SLF001


def _changed(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    for before, after in changes:
        if text.count(before) != 1:
            message = f"the functions of 0017 are not the ones that this migration knows: {before!r}"
            raise RuntimeError(message)
        text = text.replace(before, after)
    return text


def upgrade() -> None:
    """Add columns, index and table, and replace the functions; the index while the programs go on."""
    for statement in COLUMNS:
        op.execute(statement)
    indexes.build("tasks_fair", INDEX)
    op.execute(TABLE)
    checked, submitted = _functions()
    op.execute(_changed(checked, CHECKED))
    op.execute(_changed(submitted, SUBMITTED))


def downgrade() -> None:
    """Bring the former functions back and drop the rest; what waited for its turn runs as the workers come to it."""
    for function in _functions():
        op.execute(function)
    for statement in DOWN:
        op.execute(statement)
