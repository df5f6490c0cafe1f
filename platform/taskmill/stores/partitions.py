"""Daily partitions of `task_history`: made ahead, dropped after the retention, counted into rollups before that.

Names are `task_history_YYYYMMDD`; a partition holds one UTC day of `finished_at`. There is no default partition.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg

from taskmill import constants as c
from taskmill.stores.database import Connection

PARENT = "task_history"
NAME_FORMAT = f"{PARENT}_%Y%m%d"

TODAY = "select (now() at time zone 'UTC')::date as today"
# 名字不合格式的子表不是我们建的，一概不碰
LIST = r"""
select child.relname from pg_catalog.pg_inherits i
join pg_catalog.pg_class child on child.oid = i.inhrelid
where i.inhparent = 'taskmill.task_history'::regclass and child.relname ~ '^task_history_\d{8}$'
order by child.relname
"""
# 调度器有多个副本，迁移命令也会来：建分区排队进行，事务结束自动放锁
LOCK = "select pg_advisory_xact_lock($1)"
# 不变量 9：行消失与 pruned 计数同生共死
COUNT = """
with counted as (
  select queue, kind, count(*) as n from taskmill.{name} group by queue, kind order by queue, kind
), r as (
  insert into taskmill.rollups as r (minute, queue, kind, outcome, writer, n)
  select date_trunc('minute', now()), queue, kind, 'pruned', $1, n from counted
  on conflict (minute, queue, kind, outcome, writer) do update set n = r.n + excluded.n
)
select coalesce(sum(n), 0)::bigint as n from counted
"""


def partition_name(day: date) -> str:
    """Return the name of the partition that holds `day` (UTC)."""
    return day.strftime(NAME_FORMAT)


def partition_day(name: str) -> date:
    """Return the UTC day that the partition `name` holds; ValueError if it is not one of ours."""
    return datetime.strptime(name, NAME_FORMAT).replace(tzinfo=UTC).date()


async def _today(connection: Connection) -> date:
    today: date = (await connection.fetch(TODAY))[0]["today"]
    return today


async def list_partitions(connection: Connection) -> list[date]:
    """Return the days that have a partition, oldest first."""
    return [partition_day(row["relname"]) for row in await connection.fetch(LIST)]


async def ensure_partitions(connection: Connection, days_ahead: int = c.PARTITION_DAYS_AHEAD) -> int:
    """Make the partitions from yesterday to `days_ahead` days from today, by the database's clock; return how many.

    Safe to call from several processes at once; opens a transaction of its own. Errors of asyncpg pass through, among
    them LockNotAvailableError when somebody holds `task_history` longer than the lock timeout.
    """
    today = await _today(connection)
    wanted = {today + timedelta(days=n) for n in range(-1, days_ahead + 1)}
    if wanted <= set(await list_partitions(connection)):
        return 0
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{c.MIGRATION_STATEMENT_LOCK_TIMEOUT}'")
        await connection.execute(LOCK, c.PARTITION_LOCK_KEY)
        missing = sorted(wanted - set(await list_partitions(connection)))
        for day in missing:
            await _create(connection, day)
    return len(missing)


async def _create(connection: Connection, day: date) -> None:
    """先建表再挂上：ATTACH 不挡读写，而 CREATE … PARTITION OF 会独占整张历史表。"""
    name = f"{c.SCHEMA}.{partition_name(day)}"
    bounds = f"from ('{day} 00:00:00+00') to ('{day + timedelta(days=1)} 00:00:00+00')"
    await connection.execute(f"create table {name} (like {c.SCHEMA}.{PARENT} including defaults including constraints)")
    await connection.execute(f"alter table {c.SCHEMA}.{PARENT} attach partition {name} for values {bounds}")


async def expired_partitions(connection: Connection, retention_days: int) -> list[date]:
    """Return the days, oldest first, whose last moment is more than `retention_days` days ago."""
    today = await _today(connection)
    return [day for day in await list_partitions(connection) if day < today - timedelta(days=retention_days)]


async def drop_partition(connection: Connection, day: date, writer: UUID) -> int | None:
    """Count the rows of `day` into rollups as `pruned` and drop its partition, in one transaction.

    Returns the number of rows, or None if somebody holds the table: nothing has changed then, try again later.
    """
    name = partition_name(day)
    try:
        async with connection.transaction():
            await connection.execute(f"set local lock_timeout = '{c.PARTITION_LOCK_TIMEOUT}'")
            await connection.execute("set local enable_seqscan = on")
            # 先挡住写入（人工重试）再数，数的时候不挡读，也不碰父表，结算照常；最后一刻才独占父表
            await connection.execute(f"lock table {c.SCHEMA}.{name} in exclusive mode")
            counted = await connection.fetch(COUNT.format(name=name), writer, timeout=c.LONG_COMMAND_TIMEOUT_S)
            await connection.execute(f"drop table {c.SCHEMA}.{name}", timeout=c.LONG_COMMAND_TIMEOUT_S)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.UndefinedTableError):
        return None
    return int(counted[0]["n"])
