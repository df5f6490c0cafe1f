"""`submit_task` takes sequence_key, sequence_on_failure, depends_on and on_parent_failure."""

from __future__ import annotations

from alembic import context, op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作；用 SQL 提交的有先后的任务，要新的调度器来放行

NAMES = "'version', 'queue', 'priority', 'run_at',"
KEYS = "ARRAY['unique_key', 'concurrency_key']"
TEXTS = "ARRAY['queue', 'run_at', 'expires_at', 'unique_key', 'concurrency_key', 'created_by']"
QUEUE = "        IF options ->> 'queue' !~ "
CHECKS = """
        IF (options ->> 'sequence_on_failure') NOT IN ('continue', 'stop') THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.sequence_on_failure: none of continue, stop', 'options.sequence_on_failure：须是 continue 或 stop');
        END IF;
        IF (options ->> 'on_parent_failure') NOT IN ('cancel', 'run') THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.on_parent_failure: none of cancel, run', 'options.on_parent_failure：须是 cancel 或 run');
        END IF;
        IF options ->> 'sequence_on_failure' IS NOT NULL AND options ->> 'sequence_key' IS NULL THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.sequence_on_failure: only together with sequence_key', 'options.sequence_on_failure：只与 sequence_key 一起给');
        END IF;
        IF jsonb_typeof(options -> 'depends_on') NOT IN ('array', 'null') OR jsonb_array_length(nullif(options -> 'depends_on', 'null')) > 100
           OR EXISTS (SELECT FROM jsonb_array_elements(nullif(options -> 'depends_on', 'null')) p WHERE jsonb_typeof(p) <> 'string'
                      OR (p #>> '{}') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.depends_on: at most 100 ids of tasks', 'options.depends_on：至多 100 个任务的编号');
        END IF;
        IF options ->> 'on_parent_failure' IS NOT NULL AND coalesce(jsonb_array_length(nullif(options -> 'depends_on', 'null')), 0) = 0 THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.on_parent_failure: only together with depends_on', 'options.on_parent_failure：只与 depends_on 一起给');
        END IF;
"""
# 号码在插入之前抽：锁住序列直到提交。等别的事务等到 lock_timeout，就是 55P03
DRAW = """
        parents := (SELECT array_agg(DISTINCT p::uuid) FROM jsonb_array_elements_text(nullif(options -> 'depends_on', 'null')) p);
        missing := (SELECT p FROM unnest(parents) p WHERE NOT EXISTS (SELECT FROM taskmill.tasks t WHERE t.id = p)
            AND NOT EXISTS (SELECT FROM taskmill.task_history h WHERE h.id = p) LIMIT 1);
        IF missing IS NOT NULL THEN
            PERFORM taskmill.submit_failed('PARENT_NOT_FOUND', 'there is no task ' || missing || ' to depend on', '没有任务 ' || missing || '，不能等它');
        END IF;
        IF options ->> 'sequence_key' IS NOT NULL THEN
            INSERT INTO taskmill.sequences AS s (key, last_no, fresh)
            VALUES (options ->> 'sequence_key', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 1, true)
            ON CONFLICT (key) DO UPDATE SET last_no = greatest(s.last_no, excluded.last_no - 1) + 1, fresh = true
            RETURNING last_no INTO turn_no;
        END IF;
        waits := turn_no IS NOT NULL OR parents IS NOT NULL;
"""
DEPEND = """
                    INSERT INTO taskmill.task_dependencies (child_id, parent_id, on_failure, armed)
                    SELECT new_id, p, coalesce(options ->> 'on_parent_failure', 'cancel'), false FROM unnest(parents) p;
"""
CHECKED = (
    (NAMES, f"{NAMES} 'sequence_key', 'sequence_on_failure', 'depends_on', 'on_parent_failure',"),
    (KEYS, "ARRAY['unique_key', 'concurrency_key', 'sequence_key']"),
    (TEXTS, TEXTS.replace("'created_by'", "'created_by', 'sequence_key', 'sequence_on_failure', 'on_parent_failure'")),
    (QUEUE, CHECKS + QUEUE),
)
SUBMITTED = (
    (
        "        group_key text;\n",
        "        group_key text;\n        parents uuid[];\n        missing uuid;\n        turn_no bigint;\n        waits boolean;\n",
    ),
    ("        FOR tries IN 1..5 LOOP\n", f"{DRAW}        FOR tries IN 1..5 LOOP\n"),
    (
        "unique_key, unique_while, concurrency_key, slot)",
        "unique_key, unique_while, concurrency_key, slot, sequence_key, sequence_no, sequence_stop)",
    ),
    ("CASE WHEN due <= now() THEN 'available'", "CASE WHEN waits THEN 'blocked' WHEN due <= now() THEN 'available'"),
    ("CASE WHEN target.limited AND due <= now() THEN", "CASE WHEN target.limited AND NOT waits AND due <= now() THEN"),
    (
        "THEN 0 ELSE 1 END END)\n",
        "THEN 0 ELSE 1 END END,\n                options ->> 'sequence_key', turn_no, CASE WHEN options ->> 'sequence_on_failure' = 'stop' THEN true END)\n",
    ),
    ("                    RETURN new_id;\n", f"{DEPEND}                    RETURN new_id;\n"),
    ("t.state IN ('available', 'retryable', 'scheduled')", "t.state IN ('available', 'blocked', 'retryable', 'scheduled')"),
)


def _changed(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    for before, after in changes:
        if text.count(before) != 1:
            message = f"the functions of 0011 and 0012 are not the ones that this migration knows: {before!r}"
            raise RuntimeError(message)
        text = text.replace(before, after)
    return text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def _before() -> tuple[str, str]:
    """`submit_checked` of 0011 and `submit_task` of 0012."""
    checked: str = context.script.get_revision("0011").module.CHECK
    rates = context.script.get_revision("0012").module
    submitted: str = rates._submit_task(rates.KEYED_AFTER)  # noqa: SLF001 - 同一条链上的前一步
    return checked, submitted


def upgrade() -> None:
    """Replace the functions."""
    checked, submitted = _before()
    op.execute(_changed(checked, CHECKED))
    op.execute(_changed(submitted, SUBMITTED))


def downgrade() -> None:
    """Bring the former ones back; they refuse the options."""
    checked, submitted = _before()
    op.execute(_changed(checked, ()))
    op.execute(submitted)
