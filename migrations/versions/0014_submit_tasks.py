"""Submit many by SQL, and hear what became of each: `submit_tasks` takes what REST takes and answers what REST answers.

An error of the rules is an answer, not an exception: nothing is stored then, and the caller's transaction goes on. EXECUTE is
taken from everybody, as of `submit_task`.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
phase = "expand"  # 只添一个函数

# 一次调用是一个子事务，不论几个任务；出错就整个撤回，调用者的事务照常。
# 谁是重复的：id 由 submit_task 用此刻的钟造出，行的 created_at 是本事务的开始。两者都对得上的，不是刚造的，就是本事务在同一毫秒里早些造的，后者记在变量里
# 等的是键还是序列，看是哪一条语句没等到：0017 起，submit_task 先向 taskmill.sequences 抽号
SUBMIT = """
    CREATE FUNCTION taskmill.submit_tasks(requests jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    DECLARE
        answers jsonb[] := '{}';
        request jsonb;
        made uuid;
        began timestamptz;
        earlier text;
        seen record;
        fresh boolean;
        said text;
        said_zh text;
        place text;
    BEGIN
        BEGIN
            IF jsonb_typeof(requests) IS DISTINCT FROM 'array' OR jsonb_array_length(requests) > 10000 THEN
                PERFORM taskmill.submit_failed('INVALID_REQUEST', 'requests: must be an array of at most 10000', 'requests：须是至多 10000 个的数组');
            END IF;
            FOR request IN SELECT r FROM jsonb_array_elements(requests) r LOOP
                IF jsonb_typeof(request) <> 'object' THEN
                    PERFORM taskmill.submit_failed('INVALID_REQUEST', 'request: must be an object', 'request：须是对象');
                END IF;
                began := clock_timestamp();
                made := taskmill.submit_task(request ->> 'kind', coalesce(request -> 'args', '{}'), request - 'kind' - 'args');
                SELECT t.kind, t.queue, t.state, t.run_at, t.args, t.created_at, t.updated_at, true AS live INTO seen
                FROM taskmill.tasks t WHERE t.id = made;
                IF NOT FOUND THEN
                    SELECT h.kind, h.queue, h.state, h.run_at, NULL::jsonb AS args, NULL::timestamptz AS created_at, NULL::timestamptz AS updated_at,
                        false AS live INTO seen FROM taskmill.task_history h WHERE h.id = made;
                END IF;
                earlier := coalesce(current_setting('taskmill.made', true), '');
                fresh := coalesce(seen.created_at = now(), false) AND strpos(earlier, made::text) = 0
                    AND ('x' || translate(left(made::text, 13), '-', ''))::bit(48)::bigint >= floor(extract(epoch FROM began) * 1000);
                IF fresh THEN
                    PERFORM set_config('taskmill.made', CASE WHEN left(earlier, 13) = left(made::text, 13) THEN earlier ELSE '' END || made::text, true);
                END IF;
                answers := array_append(answers, jsonb_build_object('id', made, 'kind', coalesce(seen.kind, request ->> 'kind'),
                    'queue', coalesce(seen.queue, request ->> 'queue', ''), 'state', seen.state, 'run_at', seen.run_at, 'duplicate', NOT fresh,
                    'replaced', NOT fresh AND coalesce(seen.live AND seen.updated_at >= began AND seen.args = coalesce(request -> 'args', '{}'), false)));
            END LOOP;
        EXCEPTION
            WHEN data_exception THEN
                GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, said_zh = PG_EXCEPTION_DETAIL;
            WHEN lock_not_available THEN
                GET STACKED DIAGNOSTICS place = PG_EXCEPTION_CONTEXT;
                IF request ->> 'sequence_key' IS NOT NULL AND strpos(place, 'taskmill.sequences') > 0 THEN
                    said := 'SEQUENCE_BUSY: another transaction submits to the sequence ' || (request ->> 'sequence_key');
                    said_zh := 'SEQUENCE_BUSY：另一个事务正向序列 ' || (request ->> 'sequence_key') || ' 提交';
                ELSE
                    said := 'UNIQUE_BUSY: another transaction holds the key';
                    said_zh := 'UNIQUE_BUSY：键被另一个事务占着';
                END IF;
        END;
        IF said IS NOT NULL THEN
            RETURN jsonb_build_object('error', said, 'error_zh', said_zh, 'index', cardinality(answers));
        END IF;
        RETURN to_jsonb(answers);
    END
    $body$
"""
SIGNATURE = "taskmill.submit_tasks(jsonb)"


def upgrade() -> None:
    """Add the function."""
    op.execute(SUBMIT)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")


def downgrade() -> None:
    """Drop it; tasks that were submitted by it go on."""
    op.execute(f"DROP FUNCTION {SIGNATURE}")
