# ruff: noqa: INP001, S608  单个脚本，不是包；语句只由常量拼成
"""Fill a migrated, empty database by SQL, as if a platform had worked for a week: `python -m benchmarks.fill URL`.

Live and finished tasks with queues, kinds and tags; attempts, groups of failures, rollups with histograms; workers and schedules.
Each kind has a queue of its own choice, queues differ much in size. Nothing of it runs: tickets are not in Valkey.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from taskmill.stores.constants import ROLLUP_HOURS
from taskmill.stores.queues.histogram import sum_of
from taskmill.stores.tasks.partitions import ensure_partitions, list_partitions, partition_name

TRACE = r"""Traceback (most recent call last):
  File "/app/shop/tasks.py", line 31, in bill
    charge(order, card)
  File "/app/lib/python3.12/site-packages/httpx/_client.py", line 1027, in post
    return self.request("POST", url)
  File "/app/shop/bank.py", line 9, in answer
    raise BankError("card refused")
shop.bank.BankError: card refused
"""
# $1 第一个号，$2 最后一个号，$3 起、$4 止的时刻；号越大越晚，所以编号按时间排列，索引从头写到尾。
# 每层都有 offset 0：不然规划器把它们摊平，一行里 h 与 k 每出现一次就从 md5 起重算一遍
_ROW = """
from (select *, floor((h::float8 / (1 << 28)) ^ 3 * {kinds})::int as k from (
        select *, ('x' || substr(m, 1, 7))::bit(28)::int as h from (
          select n, md5(n::text) as m, $3::timestamptz + (n - $1::bigint) * ($4::timestamptz - $3::timestamptz) / ($2::bigint - $1::bigint + 1) as at
          from generate_series($1::bigint, $2::bigint) n offset 0) a offset 0) b offset 0) s
"""
_ID = """(lpad(to_hex((extract(epoch from {at}) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8'
  || substr(m, 8, 15))::uuid"""
_COMMON = "'queue-' || lpad((k % {queues})::text, 3, '0'), 'shop.kind_' || lpad(k::text, 3, '0')"
_TAGS = "case when h % 4 = 0 then array['tag-' || (h / 4 % {tags}), 'eu'] end"
_SCHEDULE = "case when h % 20 = 7 then md5('s' || h / 20 % {schedules})::uuid end"
_ARGS = "jsonb_build_object('order', n, 'customer', 'customer-' || h % 50000, 'note', m)"
FINISHED = (
    "insert into taskmill.{table} (id, queue, kind, state, priority, args, tags, claim_no, attempt, run_at, timeout_ms, started_at, "
    "error, result, created_at, updated_at, finished_at, schedule_id) select "
    + _ID.format(at="at - wait - run")
    + ", " + _COMMON + ", state, 1 + h % 4, " + _ARGS + ", " + _TAGS + ", tries, tries, at - wait - run, 30000, at - run, "
    """case state when 'discarded' then '{{"type": "BankError", "message": "card refused"}}'::jsonb end,
    case state when 'completed' then '{{"paid": true}}'::jsonb end, at - wait - run, at, at, """
    + _SCHEDULE
    + _ROW
    + """ cross join lateral (select case when h % 100 < 3 then 'discarded' when h % 100 = 3 then 'cancelled' else 'completed' end as state,
                 case when h % 100 < 3 then 5 else 1 end as tries,
                 ((h % 997) * (h % 89)) * interval '1 ms' as wait, (20 + h % 4999 * (1 + k % 7) / 4) * interval '1 ms' as run offset 0) t"""
)  # fmt: skip
LIVE = (
    "insert into taskmill.tasks (id, queue, kind, state, priority, args, tags, claim_no, attempt, run_at, ticket_at, timeout_ms, "
    "worker_id, started_at, deadline_at, created_at, updated_at, schedule_id) select "
    + _ID.format(at="at")
    + ", " + _COMMON + ", state, 1 + h % 4, " + _ARGS + ", " + _TAGS + ", tries, tries, "
    """case when state in ('scheduled', 'retryable') then now() + h % 86400 * interval '1 second' else at end,
    case state when 'available' then at end, 30000,
    case state when 'running' then md5((h % {workers})::text)::uuid end, case state when 'running' then now() end,
    case state when 'running' then now() + interval '1 day' end, at, at, """
    + _SCHEDULE
    + _ROW
    + """ cross join lateral (select case when h % 1000 = 0 then 'running' when h % 10 = 1 then 'retryable' when h % 10 in (2, 3) then 'scheduled'
                 else 'available' end as state, case when h % 10 = 1 or h % 1000 = 0 then 1 else 0 end as tries offset 0) t"""
)  # fmt: skip
ATTEMPTS = f"""
insert into taskmill.task_attempts (task_id, claim_no, attempt, cause, error_type, message, traceback, started_at, finished_at, fingerprint)
select id, claim_no, claim_no, 'error', 'BankError', 'card refused', $body${TRACE}$body$, started_at, finished_at,
       substr(md5(kind || floor((('x' || substr(md5(id::text), 1, 6))::bit(24)::int::float8 / (1 << 24)) ^ 3 * {{groups}})), 1, 16)
from (select id, kind, claim_no, started_at, finished_at from taskmill.task_history where state = 'discarded'
      union all select id, kind, 1, created_at, created_at from taskmill.tasks where state = 'retryable') t
"""
FAILURES = """
insert into taskmill.failures (fingerprint, kind, error_type, message, frame, queues, first_at, last_at, n, task_ids)
select a.fingerprint, max(t.kind), 'BankError', 'card <n> refused at desk ' || a.fingerprint, 'shop/bank.py answer',
       (array_agg(distinct t.queue))[1:20], min(a.finished_at), max(a.finished_at), count(*),
       (array_agg(a.task_id order by a.finished_at desc))[1:10]
from taskmill.task_attempts a join (select id, kind, queue from taskmill.task_history where state = 'discarded'
  union all select id, kind, queue from taskmill.tasks where state = 'retryable') t on t.id = a.task_id group by 1
"""
_WAIT, _RUN = "extract(epoch from started_at - run_at) * 1000", "extract(epoch from finished_at - started_at) * 1000"
_WAITS, _RUNS = (sum_of(f"({each})::float8").replace("{", "{{").replace("}", "}}") for each in (_WAIT, _RUN))
ROLLUPS = f"""
insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_ms, run_ms, wait_hist, run_hist)
select date_trunc(case when finished_at < now() - interval '{ROLLUP_HOURS} hours' then 'hour' else 'minute' end, finished_at, 'UTC'), queue, kind, state, md5('fill')::uuid, count(*), sum({_WAIT}), sum({_RUN}),
       case when state = 'cancelled' then 0 else {_WAITS} end,
       case when state = 'cancelled' then 0 else {_RUNS} end
from taskmill.{{table}} group by 1, 2, 3, 4
"""
SMALL = (
    """insert into taskmill.queues (name, max_running, paused_at, paused_by)
       select 'queue-' || lpad(n::text, 3, '0'), case when n % 10 = 9 then 50 end, case when n = 7 then now() end, case when n = 7 then 'key:ops' end
       from generate_series(0, {queues} - 1) n""",
    """insert into taskmill.kinds (kind, version, plugin, plugin_version, summary, queue, priority, max_attempts, timeout_ms, executor, args_schema)
       select 'shop.kind_' || lpad(n::text, 3, '0'), 1, 'shop', '1.0', 'kind ' || n, 'queue-' || lpad((n % {queues})::text, 3, '0'), 2, 5, 30000,
              'async', '{{"type": "object"}}' from generate_series(0, {kinds} - 1) n""",
    """insert into taskmill.workers (id, hostname, pid, version, queues, kinds, concurrency, running, lease_until, ready)
       select md5(n::text)::uuid, 'worker-' || n, n + 1, '1.0', array(select name from taskmill.queues), array(select kind from taskmill.kinds),
              100, 50, now() + interval '1 day', true from generate_series(0, {workers} - 1) n""",
    """insert into taskmill.schedules (id, name, kind, args, interval_s, catch_up_s, next_fire_at)
       select md5('s' || n)::uuid, 'schedule-' || n, 'shop.kind_000', '{{}}', 3600, 60, now() + n * interval '1 minute'
       from generate_series(0, {schedules} - 1) n""",
)
INDEXES = """
select indexname, indexdef from pg_indexes where schemaname = 'taskmill' and tablename = 'tasks' and indexname <> 'tasks_pkey'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything; `groups`: of failures, per kind."""

    live: int = 1_000_000
    finished: int = 5_000_000
    days: int = 7
    queues: int = 50
    kinds: int = 60
    tags: int = 200
    groups: int = 20
    workers: int = 20
    schedules: int = 200

    def into(self, statement: str, **more: str) -> str:
        """Return a statement with these sizes in it: they are numbers of ours, no input."""
        names = ("queues", "kinds", "tags", "groups", "workers", "schedules")
        return statement.format(**{name: getattr(self, name) for name in names}, **more)


async def fill(url: str, sizes: Sizes, say: Callable[[str], object] = lambda _: None) -> dict[str, float]:
    """Fill the database; returns seconds by part. Two connections write at a time."""
    took: dict[str, float] = {}
    pool = await asyncpg.create_pool(
        url, min_size=2, max_size=2, command_timeout=3_600, server_settings={"synchronous_commit": "off", "work_mem": "256MB", "maintenance_work_mem": "512MB", "jit": "off"},
    )  # fmt: skip
    async with pool:
        parts: dict[str, Callable[[], Awaitable[Any]]] = {
            "small tables": lambda: _small(pool, sizes),
            "tasks": lambda: _tasks(pool, sizes),
            "rollups": lambda: _rollups(pool, sizes),
            "failures": lambda: pool.execute(sizes.into(ATTEMPTS)),
            "groups": lambda: pool.execute(FAILURES),
            "vacuum": lambda: pool.execute("vacuum analyze"),
        }
        for name, work in parts.items():
            began = time.monotonic()
            await work()
            took[name] = round(time.monotonic() - began, 1)
            say(f"{name}: {took[name]} s\n")
    return took


async def _both(*work: Awaitable[Any]) -> None:
    await asyncio.gather(*work)


async def _small(pool: Any, sizes: Sizes) -> None:
    for statement in SMALL:
        await pool.execute(sizes.into(statement))
    async with pool.acquire() as connection:
        await ensure_partitions(connection, 1)


async def _tasks(pool: Any, sizes: Sizes) -> None:
    now: datetime = await pool.fetchval("select now()")
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [now - timedelta(days=sizes.days), *(day - timedelta(days=n) for n in range(sizes.days - 1, -1, -1))]
    whole = now - starts[0]
    work: list[Awaitable[None]] = [_live(pool, sizes, now)]
    number = 1
    for start, end in zip(starts, [*starts[1:], now], strict=True):
        count = round(sizes.finished * ((end - start) / whole))
        work.append(_day(pool, sizes, start, end, range(number, number + count)))
        number += count
    await _both(*work)


async def _live(pool: Any, sizes: Sizes, now: datetime) -> None:
    """先装满再建索引：一次排好序，比一行一行插进去快得多。"""
    first = 10 * sizes.finished
    async with pool.acquire() as connection:
        indexes = await connection.fetch(INDEXES)
        for index in indexes:
            await connection.execute(f"drop index taskmill.{index['indexname']}")
        await connection.execute(sizes.into(LIVE), first, first + sizes.live - 1, now - timedelta(hours=3), now)
        for index in indexes:
            await connection.execute(index["indexdef"])


async def _day(pool: Any, sizes: Sizes, start: datetime, end: datetime, numbers: range) -> None:
    """一天一个分区：先装满再挂上，索引就一次建成；已经有的分区直接写。"""
    if not numbers:
        return
    async with pool.acquire() as connection:
        table, known = partition_name(start.date()), start.date() in await list_partitions(connection)
        if not known:
            await connection.execute(
                f"create table taskmill.{table} (like taskmill.task_history including defaults including constraints)"
            )
        await connection.execute(
            sizes.into(FINISHED, table=table), numbers[0], numbers[-1], start, end - timedelta(milliseconds=1)
        )
        if not known:
            span = f"from ('{start.date()} 00:00:00+00') to ('{start.date() + timedelta(days=1)} 00:00:00+00')"
            await connection.execute(
                f"alter table taskmill.task_history attach partition taskmill.{table} for values {span}"
            )


async def _rollups(pool: Any, sizes: Sizes) -> None:
    async with pool.acquire() as connection:
        days: Sequence[date] = await list_partitions(connection)
    await _both(*(pool.execute(sizes.into(ROLLUPS, table=partition_name(day))) for day in days))


def sizes_of(options: argparse.Namespace) -> Sizes:
    """Return the sizes that the command line asks for."""
    return Sizes(**{name: getattr(options, name) for name in Sizes.__dataclass_fields__})


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each size."""
    for name, field in Sizes.__dataclass_fields__.items():
        parser.add_argument(f"--{name}", type=int, default=field.default)


if __name__ == "__main__":
    found = argparse.ArgumentParser(description=__doc__)
    found.add_argument("url", help="e.g. postgresql://localhost/taskmill")
    arguments(found)
    given = found.parse_args()
    asyncio.run(fill(given.url, sizes_of(given), sys.stdout.write))
