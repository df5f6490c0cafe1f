"""Submit by SQL: a function that any program may call in its own transaction, with no right on the tables.

EXECUTE is taken from everybody: whoever lets an application submit grants it, and USAGE on the schema, to its role.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作：函数插入的行与它们自己插入的一样，票由 stager 补

# 语句里没有百分号：离线输出的 SQL 会把它写成两个。参数的 JSON Schema 在这里查不了，由领取它的工作进程查。
# 错误的正文以代码开头，细节是中文；抛出之后什么都没有做，调用者的事务可以退回到保存点。
# max_backlog 不锁队列的行：调用者的事务可以开十分钟，别人的提交不能等它；同时开着的事务因此能略微超出上限。
# 没有 EXCEPTION 块：每个都是一个子事务，一个事务里提交上百个任务就会拖慢所有人。键被别的事务占着，一秒之后是 55P03
FAIL = """
    CREATE FUNCTION taskmill.submit_failed(code text, en text, zh text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
    BEGIN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = code || ': ' || en, DETAIL = code || '：' || zh;
    END
    $body$
"""
CHECK = """
    CREATE FUNCTION taskmill.submit_checked(options jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
    DECLARE
        name text;
        rule record;
        amount numeric;
    BEGIN
        IF jsonb_typeof(options) IS DISTINCT FROM 'object' THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options: must be an object', 'options：须是对象');
        END IF;
        SELECT k INTO name FROM jsonb_object_keys(options) k WHERE k <> ALL (ARRAY['version', 'queue', 'priority', 'run_at',
            'delay_s', 'expires_at', 'max_attempts', 'timeout_s', 'tags', 'meta', 'unique', 'unique_key', 'concurrency_key',
            'created_by']) ORDER BY 1 LIMIT 1;
        IF name IS NOT NULL THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.' || name || ': no such option', 'options.' || name || '：没有这个选项');
        END IF;
        FOR rule IN SELECT * FROM (VALUES ('version', 1, 2147483647), ('priority', 1, 4), ('delay_s', 0, 315360000),
                ('max_attempts', 1, 1000), ('timeout_s', 0, 604800)) AS r(name, low, high)
        LOOP
            CONTINUE WHEN options -> rule.name IS NULL OR options -> rule.name = 'null';
            amount := CASE WHEN jsonb_typeof(options -> rule.name) = 'number' THEN (options ->> rule.name)::numeric END;
            IF amount IS NULL OR amount < rule.low OR amount > rule.high
               OR (rule.name IN ('version', 'priority', 'max_attempts') AND amount <> trunc(amount))
               OR (rule.name = 'timeout_s' AND amount = 0) THEN
                PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.' || rule.name || ': must be within ' || rule.low || ' and ' || rule.high,
                    'options.' || rule.name || '：须在 ' || rule.low || ' 到 ' || rule.high || ' 之间');
            END IF;
        END LOOP;
        FOREACH name IN ARRAY ARRAY['queue', 'run_at', 'expires_at', 'unique_key', 'concurrency_key', 'created_by'] LOOP
            IF jsonb_typeof(options -> name) NOT IN ('string', 'null') THEN
                PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.' || name || ': must be a text', 'options.' || name || '：须是文字');
            END IF;
        END LOOP;
        FOREACH name IN ARRAY ARRAY['unique_key', 'concurrency_key'] LOOP
            IF length(options ->> name) NOT BETWEEN 1 AND 200 THEN
                PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.' || name || ': must have 1 to 200 characters', 'options.' || name || '：须为 1 到 200 个字符');
            END IF;
        END LOOP;
        IF options ->> 'queue' !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$' THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.queue: not the name of a queue', 'options.queue：不是队列名');
        END IF;
        IF options ->> 'run_at' IS NOT NULL AND options ->> 'delay_s' IS NOT NULL THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.delay_s: give run_at or delay_s, not both', 'options.delay_s：run_at 与 delay_s 只给一个');
        END IF;
        IF jsonb_typeof(options -> 'tags') NOT IN ('array', 'null') OR jsonb_array_length(nullif(options -> 'tags', 'null')) > 20
           OR EXISTS (SELECT FROM jsonb_array_elements(nullif(options -> 'tags', 'null')) t WHERE jsonb_typeof(t) <> 'string'
                      OR (t #>> '{}') !~ '^[^[:space:][:cntrl:]]{1,100}$') THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.tags: at most 20 texts without blanks', 'options.tags：至多 20 个不含空白的文字');
        END IF;
        IF jsonb_typeof(options -> 'meta') NOT IN ('object', 'null') OR octet_length((options -> 'meta')::text) > 16384 THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.meta: an object of at most 16384 bytes', 'options.meta：至多 16384 字节的对象');
        END IF;
    END
    $body$
"""
UNIQUE = """
    CREATE FUNCTION taskmill.submit_unique(kind text, args jsonb, options jsonb, declared jsonb, names jsonb,
        OUT key text, OUT held_while text, OUT period interval, OUT on_duplicate text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
    DECLARE
        rule jsonb := nullif(declared, 'null');
        chosen jsonb := args;
        name text;
    BEGIN
        IF options ->> 'unique_key' IS NOT NULL AND nullif(options -> 'unique', 'null') IS NOT NULL THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.unique_key: give unique_key or unique, not both', 'options.unique_key：unique_key 与 unique 只给一个');
        END IF;
        IF options ->> 'unique_key' IS NOT NULL THEN
            rule := (coalesce(rule, '{}') - 'by') || jsonb_build_object('key', options -> 'unique_key');
        ELSIF options ? 'unique' THEN
            rule := nullif(options -> 'unique', 'null');
        END IF;
        IF rule IS NULL THEN
            RETURN;
        END IF;
        IF jsonb_typeof(rule) <> 'object' OR EXISTS (SELECT FROM jsonb_object_keys(rule) k
                WHERE k <> ALL (ARRAY['by', 'key', 'while', 'period_s', 'on_duplicate']))
           OR coalesce(rule ->> 'while', 'live') NOT IN ('live', 'waiting')
           OR coalesce(rule ->> 'on_duplicate', 'return') NOT IN ('return', 'replace', 'refuse')
           OR jsonb_typeof(rule -> 'by') NOT IN ('array', 'null') OR jsonb_typeof(rule -> 'key') NOT IN ('string', 'null')
           OR length(rule ->> 'key') NOT BETWEEN 1 AND 200 OR (rule ->> 'key' IS NOT NULL AND nullif(rule -> 'by', 'null') IS NOT NULL)
           OR jsonb_typeof(rule -> 'period_s') NOT IN ('number', 'null')
           OR (CASE WHEN jsonb_typeof(rule -> 'period_s') = 'number' THEN (rule ->> 'period_s')::numeric NOT BETWEEN 0.000001 AND 31622400 END) THEN
            PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.unique: not {by, key, while, period_s, on_duplicate}', 'options.unique：不是 {by, key, while, period_s, on_duplicate}');
        END IF;
        IF nullif(rule -> 'by', 'null') IS NOT NULL THEN
            SELECT b INTO name FROM jsonb_array_elements_text(rule -> 'by') b
            WHERE args #> string_to_array(b, '.') IS NULL AND NOT (strpos(b, '.') = 0 AND coalesce(names ? b, false)) LIMIT 1;
            IF name IS NOT NULL THEN
                PERFORM taskmill.submit_failed('INVALID_REQUEST', 'options.unique.by: the args have no ' || name, 'options.unique.by：参数里没有 ' || name);
            END IF;
            SELECT coalesce(jsonb_agg(coalesce(args #> string_to_array(b, '.'), 'null') ORDER BY n), '[]') INTO chosen
            FROM jsonb_array_elements_text(rule -> 'by') WITH ORDINALITY AS x(b, n);
        END IF;
        key := coalesce(rule ->> 'key', kind || ':' || left(encode(sha256(convert_to(chosen::text, 'UTF8')), 'hex'), 32));
        held_while := coalesce(rule ->> 'while', 'live');
        period := (rule ->> 'period_s')::float8 * interval '1 second';
        on_duplicate := coalesce(rule ->> 'on_duplicate', 'return');
    END
    $body$
"""
SUBMIT = """
    CREATE FUNCTION taskmill.submit_task(kind text, args jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $body$
    #variable_conflict use_column
    DECLARE
        known taskmill.kinds;
        target taskmill.queues;
        rule record;
        lane text;
        line text := gen_random_uuid()::text;
        new_id uuid;
        taken uuid;
        due timestamptz;
        part text;
        group_key text;
    BEGIN
        options := coalesce(options, '{}');
        args := coalesce(args, '{}');
        PERFORM taskmill.submit_checked(options);
        IF jsonb_typeof(args) <> 'object' OR octet_length(args::text) > 262144 THEN
            PERFORM taskmill.submit_failed('ARGS_INVALID', 'args: an object of at most 262144 bytes', 'args：至多 262144 字节的对象');
        END IF;
        SELECT k.* INTO known FROM taskmill.kinds k WHERE k.kind = submit_task.kind
           AND k.version = coalesce((options ->> 'version')::int, k.version) ORDER BY k.version DESC LIMIT 1;
        IF NOT FOUND THEN
            PERFORM taskmill.submit_failed('KIND_NOT_FOUND', 'unknown task kind: ' || coalesce(submit_task.kind, 'null'), '未知的任务类型：' || coalesce(submit_task.kind, 'null'));
        END IF;
        due := coalesce((options ->> 'run_at')::timestamptz, now() + coalesce((options ->> 'delay_s')::float8, 0) * interval '1 second');
        group_key := options ->> 'concurrency_key';
        IF group_key IS NULL AND known.controls #>> '{concurrency,key}' IS NOT NULL THEN
            group_key := known.controls #>> '{concurrency,key}';
            FOR part IN SELECT m[1] FROM regexp_matches(group_key, '\\{([^{}]*)\\}', 'g') m LOOP
                IF jsonb_typeof(args #> string_to_array(part, '.')) IS NULL OR jsonb_typeof(args #> string_to_array(part, '.')) IN ('object', 'array', 'null') THEN
                    PERFORM taskmill.submit_failed('INVALID_REQUEST', 'concurrency_key: the args have no ' || part, 'concurrency_key：参数里没有 ' || part);
                END IF;
                group_key := replace(group_key, '{' || part || '}', args #>> string_to_array(part, '.'));
            END LOOP;
        END IF;
        lane := coalesce(options ->> 'queue', known.queue);
        rule := taskmill.submit_unique(submit_task.kind, args, options, known.controls -> 'unique', coalesce(
            known.args_schema -> 'properties', known.args_schema #> string_to_array(substr(known.args_schema ->> '$ref', 3), '/') -> 'properties'));
        SELECT q.* INTO target FROM taskmill.queues q WHERE q.name = lane;
        IF NOT FOUND THEN
            IF (SELECT count(*) FROM taskmill.queues) >= 20000 THEN
                PERFORM taskmill.submit_failed('QUEUE_LIMIT', 'there are 20000 queues, the limit; not made: ' || lane, '队列已有 20000 个，到了上限；没有新建：' || lane);
            END IF;
            INSERT INTO taskmill.queues (name) VALUES (lane) ON CONFLICT DO NOTHING;
        END IF;
        IF (SELECT count(*) FROM (SELECT FROM taskmill.tasks t WHERE t.queue = lane AND t.state = 'available' LIMIT target.max_backlog) w) >= target.max_backlog THEN
            PERFORM taskmill.submit_failed('QUEUE_FULL', target.max_backlog || ' tasks wait in queue ' || lane || ', the limit', '队列 ' || lane || ' 里已有 ' || target.max_backlog || ' 个在等，到了上限');
        END IF;
        line := replace(line, '-', '');
        new_id := (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(line, 14, 3) || substr(line, 17, 16))::uuid;
        FOR tries IN 1..5 LOOP
            INSERT INTO taskmill.tasks (id, queue, kind, kind_version, state, priority, args, meta, tags, max_attempts, timeout_ms, run_at,
                expires_at, created_by, unique_key, unique_while, concurrency_key, slot)
            VALUES (new_id, lane, known.kind, known.version, CASE WHEN due <= now() THEN 'available' ELSE 'scheduled' END,
                coalesce((options ->> 'priority')::smallint, known.priority), args, nullif(options -> 'meta', 'null'),
                (SELECT array_agg(t) FROM jsonb_array_elements_text(nullif(options -> 'tags', 'null')) t),
                coalesce((options ->> 'max_attempts')::int, known.max_attempts),
                coalesce(round((options ->> 'timeout_s')::numeric * 1000)::int, known.timeout_ms), due,
                (options ->> 'expires_at')::timestamptz, coalesce(options ->> 'created_by', 'sql:' || session_user), rule.key, rule.held_while, group_key,
                CASE WHEN target.limited AND due <= now() THEN CASE WHEN target.max_running_per_key IS NOT NULL AND group_key IS NOT NULL THEN 0 ELSE 1 END END)
            ON CONFLICT (unique_key) WHERE unique_key is not null and (unique_while = 'live' or claim_no = 0) DO NOTHING;
            IF FOUND THEN
                IF rule.period IS NOT NULL THEN
                    INSERT INTO taskmill.unique_keys AS k (key, task_id, until) VALUES (rule.key, new_id, now() + rule.period)
                    ON CONFLICT (key) DO UPDATE SET task_id = excluded.task_id, until = excluded.until WHERE k.until <= now();
                END IF;
                SELECT k.task_id INTO taken FROM taskmill.unique_keys k WHERE k.key = rule.key AND k.until > now() AND k.task_id <> new_id;
                IF NOT FOUND THEN
                    RETURN new_id;
                END IF;
                DELETE FROM taskmill.tasks t WHERE t.id = new_id;
            ELSE
                SELECT t.id INTO taken FROM taskmill.tasks t WHERE t.unique_key = rule.key
                   AND unique_key is not null and (unique_while = 'live' or claim_no = 0);
            END IF;
            CONTINUE WHEN taken IS NULL;
            IF rule.on_duplicate = 'refuse' THEN
                PERFORM taskmill.submit_failed('UNIQUE_TAKEN', 'the unique key ' || rule.key || ' is taken by the task ' || taken, '唯一键 ' || rule.key || ' 已有任务 ' || taken);
            ELSIF rule.on_duplicate = 'replace' THEN
                UPDATE taskmill.tasks t SET args = submit_task.args, kind_version = known.version, run_at = due, updated_at = clock_timestamp(),
                    ticket_at = CASE WHEN t.state = 'available' AND due <= now() THEN t.ticket_at END,
                    slot = CASE WHEN t.state = 'available' AND due <= now() THEN t.slot END,
                    state = CASE WHEN t.state = 'available' AND due > now() THEN 'scheduled' ELSE t.state END
                WHERE t.id = taken AND t.unique_key = rule.key AND t.kind = known.kind AND t.state IN ('available', 'retryable', 'scheduled');
            END IF;
            RETURN taken;
        END LOOP;
        PERFORM taskmill.submit_failed('UNIQUE_BUSY', 'the unique key ' || rule.key || ' goes from hand to hand', '唯一键 ' || rule.key || ' 不断易手');
        RETURN NULL;
    END
    $body$
"""
SIGNATURES = (
    "taskmill.submit_task(text, jsonb, jsonb)",
    "taskmill.submit_unique(text, jsonb, jsonb, jsonb, jsonb)",
    "taskmill.submit_checked(jsonb)",
    "taskmill.submit_failed(text, text, text)",
)


def upgrade() -> None:
    """Add the functions."""
    for statement in (FAIL, CHECK, UNIQUE, SUBMIT):
        op.execute(statement)
    for signature in SIGNATURES:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")


def downgrade() -> None:
    """Drop them; tasks that were submitted by them go on."""
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
