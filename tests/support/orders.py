"""Tasks of sequences and with parents, put through the stores on one connection: submit, claim, end, and look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from taskmill.ids import new_id
from taskmill.services.tasks import order
from taskmill.states import By, State
from taskmill.stores.database import Connection, Database
from taskmill.stores.tasks import claim, settle, submit
from taskmill.stores.tasks.order import dependencies, follow, sequences
from taskmill.stores.tasks.order.release import LetGo, release
from taskmill.stores.tasks.settle import Outcome
from taskmill.stores.tasks.submit import NewTask, Order

SERVED = ["demo.echo:1"]
WAIT_MS = 1_000
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def new_task(
    key: str | None = None,
    parents: Sequence[UUID] = (),
    *,
    stop: bool = False,
    on_failure: str = "cancel",
    **fields: Any,
) -> NewTask:
    """Return a task to insert, an ordinary one without key and parents."""
    wanted = {"queue": "default", "kind": "demo.echo", "kind_version": 1, "priority": 2, "args": b"{}", **fields}
    after = Order(key, stop, list(parents), on_failure) if key is not None or parents else None
    return NewTask(id=new_id(), max_attempts=3, timeout_ms=60_000, order=after, **wanted)


async def add(connection: Connection, *tasks: NewTask, wait_ms: int = WAIT_MS) -> list[UUID]:
    """Insert tasks, in the connection's transaction if it has one."""
    async with connection.transaction():
        await order.check_parents(connection, tasks)
        if plain := [task for task in tasks if task.order is None]:
            await submit.insert(connection, plain)
        if ordered := [task for task in tasks if task.order is not None]:
            await order.insert(connection, ordered, wait_ms)
    return [task.id for task in tasks]


async def let_go(database: Database) -> LetGo:
    """Do what the releaser does, until there is nothing to do; returns what was let go."""
    made = LetGo()
    while True:
        async with database.transaction() as connection:
            found, armed = await dependencies.arm(connection)
            made.add(await follow.armed(connection, found, new_id()))
        async with database.transaction() as connection:
            found, resolved = await dependencies.resolve_some(connection)
            made.add(await follow.armed(connection, found, new_id()))
        last = await sequences.fresh(database.pool, "", 1_000)
        async with database.transaction() as connection:
            keys = {*last, *await sequences.waiting(connection, 1_000)}
            made.add(await release(connection, await sequences.advance(connection, keys)))
            await sequences.seen(connection, last)
        if not armed and not resolved and not last:
            return made


async def start(connection: Connection, task_id: UUID, worker: UUID) -> int | None:
    """Claim a task; returns its claim_no, None if it may not run."""
    claim_no = await connection.fetchval("select claim_no from taskmill.tasks where id = $1", task_id)
    rows = await claim.claim(connection, [(task_id, claim_no)], worker, SERVED) if claim_no is not None else []
    return rows[0]["claim_no"] if rows else None


async def end(database: Database, task_id: UUID, claim_no: int, worker: UUID, state: State, by: By = By.SETTLE) -> LetGo:
    """Settle a running task."""
    made = LetGo()
    error = msgspec.json.encode({"type": "E", "message": "m"}) if state is not State.COMPLETED else None
    outcome = Outcome(task_id, claim_no, worker, state, by=by, error=error)
    async with database.transaction() as connection:
        assert await settle.settle(connection, [outcome], new_id(), made) == {task_id: state}
    return made


async def run(database: Database, task_id: UUID, state: State = State.COMPLETED) -> LetGo:
    """Claim and settle a task that may run."""
    worker = new_id()
    async with database.pool.acquire() as connection:
        claim_no = await start(connection, task_id, worker)
    assert claim_no is not None, "may not run"
    return await end(database, task_id, claim_no, worker, state)


async def states(database: Database, ids: Sequence[UUID]) -> list[str | None]:
    """Return the state of each task, None if it is unknown."""
    rows = await database.pool.fetch(
        """select id, state from taskmill.tasks where id = any ($1::uuid[])
           union all select id, state from taskmill.task_history where id = any ($1::uuid[])""",
        list(ids),
    )
    found = {row["id"]: row["state"] for row in rows}
    return [found.get(each) for each in ids]


async def run_as(database: Database, task_id: UUID, kind: str, state: str) -> LetGo:
    """Claim and settle a task of another kind."""
    worker = new_id()
    claim_no = await database.pool.fetchval("select claim_no from taskmill.tasks where id = $1", task_id)
    rows = await claim.claim(database.pool, [(task_id, claim_no)], worker, [f"{kind}:1"])
    assert rows, "may not run"
    return await end(database, task_id, rows[0]["claim_no"], worker, State(state))
