"""Faults of PostgreSQL, and strangers that hold locks in it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg

from tests.chaos.driver.faults import fault, fill
from tests.chaos.driver.stage import AWAY, USER, Stage

LOCK_WAIT = "set lock_timeout = '5s'"


@fault("PostgreSQL killed (-9) and restarted", "postgres", 2, 8, blocks=True)
async def killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Crash recovery."""
    await asyncio.to_thread(stage.postgres.kill)
    try:
        yield ""
    finally:
        await asyncio.to_thread(stage.postgres.restart)


@fault("PostgreSQL restarted", "postgres", 1, 5, blocks=True)
async def restarted(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """A fast shutdown, as an upgrade of a minor version takes: transactions are rolled back, connections told to go."""
    await asyncio.to_thread(stage.postgres.stop)
    try:
        yield ""
    finally:
        await asyncio.to_thread(stage.postgres.restart)


@fault("PostgreSQL slow", "postgres", 8, 15)
async def in_fits(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """It runs for a quarter of each second, as on a machine or a disk that others use up."""
    task = asyncio.create_task(_in_fits(stage))
    try:
        yield ""
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(stage.postgres.resume)


async def _in_fits(stage: Stage) -> None:
    while True:
        await asyncio.to_thread(stage.postgres.pause)
        await asyncio.sleep(0.75)
        await asyncio.to_thread(stage.postgres.resume)
        await asyncio.sleep(0.25)


@fault("PostgreSQL frozen for 30 s", "postgres", 29, 31, blocks=True)
async def frozen(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Connections stay open and nobody answers."""
    await asyncio.to_thread(stage.postgres.pause)
    try:
        yield ""
    finally:
        await asyncio.to_thread(stage.postgres.resume)


@fault("PostgreSQL read-only", "postgres", 8, 15, blocks=True)
async def read_only(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """As after a failover to a standby that is not promoted."""
    await _system(stage, "default_transaction_read_only", "on")
    try:
        yield ""
    finally:
        await _system(stage, "default_transaction_read_only", None)


async def _system(stage: Stage, name: str, value: str | None) -> None:
    url = stage.postgres.url
    await _persistently(stage, "reset" if value is None else "set", name, value)
    await stage.execute("select pg_reload_conf()", url=url)


async def _persistently(stage: Stage, verb: str, name: str, value: str | None) -> None:
    words = f"alter system {verb} {name}" + ("" if value is None else f" = '{value}'")
    await stage.execute(words, url=stage.postgres.url)


@asynccontextmanager
async def _role_setting(stage: Stage, setting: str) -> AsyncIterator[None]:
    """设给角色，再断开它的连接：新连接才会带上。"""
    name = setting.split(" ", maxsplit=1)[0]
    await stage.execute(f"alter role {USER} set {setting}", url=stage.postgres.url)
    await terminate(stage)
    try:
        yield
    finally:
        await _again(lambda: stage.execute(f"alter role {USER} reset {name}", url=stage.postgres.url))
        await terminate(stage)


async def _again(work: Callable[[], object]) -> None:
    """收尾必须做成：并行的另一个故障可能正让 PostgreSQL 不可用。"""
    for _ in range(120):
        try:
            await work()  # type: ignore[misc]
        except AWAY:
            await asyncio.sleep(0.5)
        else:
            return
    message = "PostgreSQL did not come back"
    raise RuntimeError(message)


async def terminate(stage: Stage, share: float = 1.0) -> None:
    """End a share of the roles' connections."""
    query = "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and random() < $2"
    with suppress(*AWAY):
        await stage.execute(query, USER, share)


@fault("statement_timeout of 100 ms and 400 row locks", "postgres", 8, 15)
async def statement_timeout(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """A role's setting meets somebody who holds locks."""
    async with _role_setting(stage, "statement_timeout = '100ms'"), stranger(stage) as hold:
        await hold("select id from taskmill.tasks order by random() limit 400 for update skip locked")
        yield ""


@fault("lock_timeout of 50 ms and a locked table", "postgres", 6, 10)
async def lock_timeout(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The same with the other limit."""
    table = rng.choice(("tasks", "task_history", "queues", "rollups"))
    async with _role_setting(stage, "lock_timeout = '50ms'"), stranger(stage) as hold:
        await hold(f"lock table taskmill.{table} in share row exclusive mode")
        yield table


@fault("connection limit of 4", "postgres", 8, 15, blocks=True)
async def connection_limit(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Most roles are refused."""
    await stage.execute(f"alter role {USER} connection limit 4", url=stage.postgres.url)
    await terminate(stage)
    try:
        yield ""
    finally:
        await _again(lambda: stage.execute(f"alter role {USER} connection limit -1", url=stage.postgres.url))


@fault("connections terminated again and again", "postgres", 4, 8)
async def terminated(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """pg_terminate_backend, five times a second, on a third of them."""
    async with _repeated(lambda: terminate(stage, 0.33)):
        yield ""


@fault("statements cancelled again and again", "postgres", 4, 8)
async def cancelled(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """pg_cancel_backend on whatever runs."""
    query = "select pg_cancel_backend(pid) from pg_stat_activity where usename = $1 and state = 'active'"

    async def cancel() -> None:
        with suppress(*AWAY):
            await stage.execute(query, USER)

    async with _repeated(cancel, 0.02):
        yield ""


@asynccontextmanager
async def _repeated(work: Callable[[], object], pause: float = 0.2) -> AsyncIterator[None]:
    async def loop() -> None:
        while True:
            await work()  # type: ignore[misc]
            await asyncio.sleep(pause)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@fault("disk of PostgreSQL full", "postgres", 6, 12, blocks=True, needs="disk")
async def disk_full(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """A file takes all that is left; what the server does then is up to it."""
    assert stage.disk is not None
    filler = stage.disk / "filler"
    await asyncio.to_thread(fill, filler)
    try:
        yield ""
    finally:
        filler.unlink()
        if not await _answers(stage):
            await asyncio.to_thread(stage.postgres.restart)


async def _answers(stage: Stage) -> bool:
    for _ in range(20):
        with suppress(*AWAY):
            await stage.execute("create table if not exists filled (n int)", url=stage.postgres.url)
            return True
        await asyncio.sleep(0.5)
    return False


@asynccontextmanager
async def stranger(stage: Stage) -> AsyncIterator[Callable[[str], object]]:
    """Somebody else's transaction; gives a function that runs statements in it. Its end is a rollback."""
    connection: asyncpg.Connection | None = None
    with suppress(*AWAY):
        connection = await asyncpg.connect(stage.admin_url, timeout=10)
        await connection.execute(LOCK_WAIT)
        await connection.execute("begin")

    async def hold(statement: str) -> int:
        if connection is not None:
            with suppress(*AWAY):
                return len(await connection.fetch(statement, timeout=10))
        return 0

    try:
        yield hold
    finally:
        if connection is not None:
            connection.terminate()


@fault("rows of running tasks locked by a stranger", "sql", 20, 28)
async def rows_locked(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Longer than the time limit of some of their neighbours, and the grace of the rescuer on top."""
    async with stranger(stage) as hold:
        count = rng.randrange(2, 6)
        tight = await hold("select id from taskmill.tasks where state = 'running' and kind <> 'chaos.tight' "
                           f"order by random() limit {count} for update skip locked")  # fmt: skip
        yield f"{tight} rows"


@fault("a table locked by a stranger", "sql", 4, 8, blocks=True)
async def table_locked(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """As a careless ALTER TABLE or VACUUM FULL does."""
    table = rng.choice(("tasks", "task_history", "task_attempts", "workers", "rollups", "queues", "kinds", "api_keys"))
    async with stranger(stage) as hold:
        await hold(f"lock table taskmill.{table} in access exclusive mode")
        yield table


@fault("a transaction that stays open", "sql", 10, 20)
async def long_transaction(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """It holds back vacuum and nothing else."""
    async with stranger(stage) as hold:
        await hold("select count(*) from taskmill.tasks")
        yield ""


@fault("a migration under load", "sql", 3, 6)
async def migration(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """A program migrates while tables get columns and an index, as the expanding migrations of a release do."""
    up = asyncio.create_task(asyncio.to_thread(stage.command, "migrate", "up"))
    tables = ("tasks", "task_history", "task_attempts", "workers", "queues", "kinds", "api_keys")
    changes = [f"alter table taskmill.{table} add column if not exists chaos int" for table in tables]
    index = "create index concurrently if not exists chaos on taskmill.tasks (chaos)"
    back = [
        "drop index if exists taskmill.chaos",
        *(f"alter table taskmill.{table} drop column if exists chaos" for table in tables),
    ]
    try:
        done = await _changed(stage, [*changes, index])
        yield f"{done} of {len(changes) + 1} changes"
    finally:
        with suppress(RuntimeError):  # 别的故障可能正让 PostgreSQL 不可用
            await up
        while await _changed(stage, back) < len(back):
            await asyncio.sleep(0.5)


async def _changed(stage: Stage, statements: Sequence[str]) -> int:
    """像产品的迁移一样只等三秒的锁，等不到就算了；返回做成了几条。"""
    done = 0
    with suppress(*AWAY):
        connection = await asyncpg.connect(stage.admin_url, timeout=10)
        try:
            await connection.execute("set lock_timeout = '3s'")
            for statement in statements:
                with suppress(asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                    await connection.execute(statement, timeout=20)
                    done += 1
        finally:
            connection.terminate()
    return done
