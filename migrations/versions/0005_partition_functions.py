"""Functions that make and drop partitions of the history with the owner's rights: a program needs none for DDL.

EXECUTE is taken from everybody; whoever lets a program run as another role grants it to that role.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
phase = "expand"  # 旧程序照常工作：它们自己执行同样的语句

# 名字只由日期拼成；语句里没有百分号，因为离线输出的 SQL 会把它写成两个。
# 先建表再挂上：ATTACH 不挡读写，而 CREATE … PARTITION OF 会独占整张历史表。
# 锁号与旧程序相同：调度器有多个副本，迁移命令也会来，建分区排队进行，事务结束自动放锁
ENSURE = """
    CREATE FUNCTION taskmill.ensure_partitions(days_ahead integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $body$
    DECLARE
        today date := (now() at time zone 'UTC')::date;
        name text;
        made integer := 0;
    BEGIN
        IF days_ahead NOT BETWEEN 0 AND 366 THEN
            RAISE EXCEPTION 'days_ahead must be within 0 and 366' USING ERRCODE = '22023';
        END IF;
        PERFORM pg_advisory_xact_lock({lock});
        FOR n IN -1..days_ahead LOOP
            name := 'task_history_' || to_char(today + n, 'YYYYMMDD');
            CONTINUE WHEN EXISTS (
                SELECT FROM pg_inherits i JOIN pg_class child ON child.oid = i.inhrelid
                WHERE i.inhparent = 'taskmill.task_history'::regclass AND child.relname = name);
            EXECUTE 'CREATE TABLE taskmill.' || name
                || ' (LIKE taskmill.task_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS)';
            EXECUTE 'ALTER TABLE taskmill.task_history ATTACH PARTITION taskmill.' || name
                || ' FOR VALUES FROM (' || quote_literal(to_char(today + n, 'YYYY-MM-DD') || ' 00:00:00+00')
                || ') TO (' || quote_literal(to_char(today + n + 1, 'YYYY-MM-DD') || ' 00:00:00+00') || ')';
            made := made + 1;
        END LOOP;
        RETURN made;
    END
    $body$
"""
# 先挡住写入（人工重试）再数，数的时候不挡读，也不碰父表，结算照常；最后一刻才独占父表。
# 不变量 9：行消失与 pruned 计数同生共死
DROP = """
    CREATE FUNCTION taskmill.drop_partition(day date, writer uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' SET enable_seqscan = on
    AS $body$
    DECLARE
        name text := 'task_history_' || to_char(day, 'YYYYMMDD');
        counted bigint;
    BEGIN
        IF day >= (now() at time zone 'UTC')::date - 1 THEN
            RAISE EXCEPTION 'this partition is still in use' USING ERRCODE = '55006';
        END IF;
        EXECUTE 'LOCK TABLE taskmill.' || name || ' IN EXCLUSIVE MODE';
        EXECUTE 'WITH counted AS (
               SELECT queue, kind, count(*) AS n FROM taskmill.' || name || ' GROUP BY queue, kind ORDER BY queue, kind
             ), r AS (
               INSERT INTO taskmill.rollups AS r (minute, queue, kind, outcome, writer, n)
               SELECT date_trunc(''minute'', now()), queue, kind, ''pruned'', $1, n FROM counted
               ON CONFLICT (minute, queue, kind, outcome, writer) DO UPDATE SET n = r.n + excluded.n
             )
             SELECT coalesce(sum(n), 0)::bigint FROM counted' INTO counted USING writer;
        EXECUTE 'DROP TABLE taskmill.' || name;
        RETURN counted;
    END
    $body$
"""
PARTITION_LOCK = 0x7461736B70617274
UP = (
    ENSURE.format(lock=PARTITION_LOCK),
    "REVOKE ALL ON FUNCTION taskmill.ensure_partitions(integer) FROM PUBLIC",
    DROP,
    "REVOKE ALL ON FUNCTION taskmill.drop_partition(date, uuid) FROM PUBLIC",
)
DOWN = ("DROP FUNCTION taskmill.drop_partition(date, uuid)", "DROP FUNCTION taskmill.ensure_partitions(integer)")


def upgrade() -> None:
    """Add the functions."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; older programs make partitions themselves."""
    for statement in DOWN:
        op.execute(statement)
