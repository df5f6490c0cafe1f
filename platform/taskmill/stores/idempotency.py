"""Answers to requests with an Idempotency-Key: written in the transaction of what they did, read before it is done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from taskmill.controls.once import Once
from taskmill.stores import constants as c
from taskmill.stores.database import LOCKED_OUT, Connection, Queryable
from taskmill.stores.tasks.unique import BOUND, KeyHeldError

FIND = f"""
select request, answer from taskmill.idempotency_keys
where owner = $1 and key = $2 and created_at > now() - interval '{c.IDEMPOTENCY_HOURS} hours'
"""
SAVE = f"""
insert into taskmill.idempotency_keys as k (owner, key, request, answer, ref)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::jsonb[], $5::uuid[]) order by 1, 2
on conflict (owner, key) do update
set request = excluded.request, answer = excluded.answer, ref = excluded.ref, created_at = now()
where k.created_at <= now() - interval '{c.IDEMPOTENCY_HOURS} hours'
returning ref
"""
PRUNE = f"""
with old as materialized (
  select owner, key from taskmill.idempotency_keys
  where created_at <= now() - interval '{c.IDEMPOTENCY_HOURS} hours' order by created_at limit $1 for update skip locked
)
delete from taskmill.idempotency_keys k using old where k.owner = old.owner and k.key = old.key returning k.key
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What such a request was answered, as JSON bytes; `ref` names who answered."""

    once: Once
    body: bytes
    ref: UUID


async def find(connection: Queryable, once: Once) -> tuple[bytes, bytes] | None:
    """Return the request's SHA-256 and the answer that is kept for the key, None if there is none."""
    row = await connection.fetchrow(FIND, once.owner, once.key)
    return None if row is None else (row["request"], row["answer"])


async def save(connection: Connection, answers: Sequence[Answer], wait_ms: int) -> set[UUID]:
    """Keep answers in a transaction; returns the refs of those whose key another has: what they did must be undone.

    KeyHeldError if another transaction has a key and does not end in `wait_ms`; the transaction is lost then.
    """
    before = await connection.fetchval(BOUND, str(wait_ms))
    # 一条语句里同一个键只能写一次：后来的与别处来的一样，算迟到
    first = list({(each.once.owner, each.once.key): each for each in reversed(answers)}.values())
    columns = (
        [each.once.owner for each in first],
        [each.once.key for each in first],
        [each.once.request for each in first],
        [each.body for each in first],
        [each.ref for each in first],
    )
    try:
        kept = {row["ref"] for row in await connection.fetch(SAVE, *columns)}
    except LOCKED_OUT as error:
        raise KeyHeldError from error
    await connection.fetchval(BOUND, before)
    return {each.ref for each in answers} - kept


async def prune(connection: Queryable, limit: int) -> int:
    """Delete answers that are kept no longer; returns how many."""
    return len(await connection.fetch(PRUNE, limit, timeout=c.LONG_COMMAND_TIMEOUT_S))
