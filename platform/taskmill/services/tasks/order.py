"""The order that a request asks for: checked, and stored with the task."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from taskmill import reasons
from taskmill.errors import Code, InputError
from taskmill.services.tasks.submit_request import SubmitRequest, refuse
from taskmill.stores.database import Connection
from taskmill.stores.tasks import submit as store
from taskmill.stores.tasks import unique
from taskmill.stores.tasks.order import dependencies, sequences
from taskmill.stores.tasks.submit import Inserted, NewTask, Order


def order_of(request: SubmitRequest, most: int) -> Order | None:
    """Return after which tasks this one comes, None for an ordinary task; InputError if it names more than `most` parents."""
    if request.sequence_key is None and not request.depends_on:
        return None
    parents = list(dict.fromkeys(request.depends_on))
    if len(parents) > most:
        raise refuse("depends_on", reasons.AT_MOST(limit=most))
    stop = request.sequence_on_failure == "stop"
    return Order(request.sequence_key, stop, parents, request.on_parent_failure or "cancel")


async def insert(connection: Connection, tasks: Sequence[NewTask], wait_ms: int) -> dict[UUID, Inserted]:
    """Insert tasks that all have an `order`, some of them unique, and whose parents exist; returns what became of each.

    KeyHeldError if another transaction holds a key or submits to a sequence; the transaction is lost then.
    """
    await sequences.draw(connection, tasks, wait_ms)
    plain = [task for task in tasks if task.unique is None]
    keyed = [task for task in tasks if task.unique is not None]
    inserted = await store.insert_ordered(connection, plain) if plain else {}
    if keyed:
        inserted |= await unique.insert(connection, keyed, wait_ms)
    await dependencies.add(connection, [task for task in tasks if inserted[task.id].duplicate_of is None])
    return inserted


async def check_parents(connection: Connection, tasks: Sequence[NewTask]) -> None:
    """Raise InputError PARENT_NOT_FOUND, with the `index` of the task, if one names a parent that is not there."""
    named = [(index, task.order.parents) for index, task in enumerate(tasks) if task.order is not None]
    missing = await dependencies.unknown(connection, {parent for _, parents in named for parent in parents})
    for index, parents in named:
        for place, parent in enumerate(parents):
            if parent in missing:
                raise InputError(Code.PARENT_NOT_FOUND, id=str(parent), field=f"depends_on[{place}]", index=index)
