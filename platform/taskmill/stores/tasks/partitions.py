"""Daily partitions of `task_history`: made ahead, dropped after the retention, counted into rollups before that.

Names are `task_history_YYYYMMDD`; a partition holds one UTC day of `finished_at`. There is no default partition.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg

from taskmill import constants as c
from taskmill.stores import constants as sc
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
# 以属主的权限执行：程序自己的角色不必能建表、删表
ENSURE = "select taskmill.ensure_partitions($1) as made"
KNOWN = "select to_regprocedure('taskmill.ensure_partitions(integer)') is not null as known"
DROP = "select taskmill.drop_partition($1, $2) as n"


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

    Safe to call from several processes at once. Errors of asyncpg pass through, among them LockNotAvailableError when
    somebody holds `task_history` longer than the lock timeout, and InsufficientPrivilegeError without EXECUTE.
    """
    today = await _today(connection)
    wanted = {today + timedelta(days=n) for n in range(-1, days_ahead + 1)}
    if wanted <= set(await list_partitions(connection)):
        return 0
    made: int = (await connection.fetch(ENSURE, days_ahead))[0]["made"]
    return made


async def can_ensure(connection: Connection) -> bool:
    """Say whether the schema is new enough to have `ensure_partitions`: a migration may stop before that revision."""
    known: bool = (await connection.fetch(KNOWN))[0]["known"]
    return known


async def expired_partitions(connection: Connection, retention_days: int) -> list[date]:
    """Return the days, oldest first, whose last moment is more than `retention_days` days ago."""
    today = await _today(connection)
    return [day for day in await list_partitions(connection) if day < today - timedelta(days=retention_days)]


async def drop_partition(connection: Connection, day: date, writer: UUID) -> int | None:
    """Count the rows of `day` into rollups as `pruned` and drop its partition, in one transaction.

    Returns the number of rows, or None if somebody holds the table: nothing has changed then, try again later.
    ObjectInUseError for a day that is not over for a day.
    """
    try:
        dropped = await connection.fetch(DROP, day, writer, timeout=sc.LONG_COMMAND_TIMEOUT_S)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.UndefinedTableError):
        return None
    return int(dropped[0]["n"])
