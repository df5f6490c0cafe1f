"""Requests that may be repeated: the same key and request get the same answer for a day, another request a refusal."""

from __future__ import annotations

import msgspec

from taskmill.controls.once import Once
from taskmill.errors import Code, ConflictError
from taskmill.ids import new_id
from taskmill.services import constants as c
from taskmill.services.faults import translate
from taskmill.services.tasks.unique import busy_key
from taskmill.stores import idempotency as store
from taskmill.stores.database import AWAY, Connection, Database
from taskmill.stores.idempotency import Answer
from taskmill.stores.tasks.unique import KeyHeldError


class LateError(Exception):
    """Another request with the same key was first: what this one did is to be undone."""


class Idempotency:
    """Answers that are kept. What a request does and its answer commit together where `keep` runs in the same transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, once: Once) -> bytes | None:
        """Return the answer that was given, as JSON bytes, None if there is none; ConflictError IDEMPOTENCY_CONFLICT."""
        try:
            found = await store.find(self._database.pool, once)
        except AWAY as error:
            raise translate(error) or error from error
        if found is None:
            return None
        request, answer = found
        if request != once.request:
            raise ConflictError(Code.IDEMPOTENCY_CONFLICT, key=once.key)
        return answer

    async def keep(self, once: Once, answer: msgspec.Struct) -> bytes | None:
        """Keep the answer to something that is harmless to repeat; returns the one that somebody else kept meanwhile, if any.

        UnavailableError UNIQUE_BUSY if somebody else is at the same request.
        """
        try:
            await self._database.unit(lambda connection: self.save(connection, once, answer))
        except LateError:
            return await self.find(once)
        return None

    async def save(self, connection: Connection, once: Once, answer: msgspec.Struct) -> None:
        """Keep the answer in the caller's transaction; LateError if somebody else was first, UNIQUE_BUSY: roll back then."""
        made = Answer(once, msgspec.json.encode(answer, enc_hook=str), new_id())
        try:
            if await store.save(connection, [made], round(c.UNIQUE_WAIT_S * 1000)):
                raise LateError
        except KeyHeldError:
            raise busy_key(once.key) from None
