"""`Idempotency-Key`: a request that is sent again gets the answer that it got before, for a day."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec
from litestar import Response

from taskmill import constants as c
from taskmill import reasons
from taskmill.api.body import DIGEST, IDEMPOTENCY
from taskmill.api.call import Call, caller, header, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.controls.once import Once
from taskmill.errors import Code, InputError
from taskmill.services.tasks.idempotency import Idempotency, LateError

S = TypeVar("S", bound=msgspec.Struct)
REPEATED = {"Idempotency-Replayed": "true"}


def key_of(request: Call) -> str | None:
    """Return the key of a request, None without; InputError INVALID_REQUEST if it is none."""
    key = header(request.scope, IDEMPOTENCY)
    if key is not None and not (0 < len(key) <= c.UNIQUE_KEY_MAX_CHARS and key.isascii() and key.isprintable()):
        reason = reasons.PRINTABLE(limit=c.UNIQUE_KEY_MAX_CHARS)
        raise InputError(Code.INVALID_REQUEST, field="Idempotency-Key", reason=reason)
    return key


def once_of(request: Call) -> Once | None:
    """Return what the key of a request says whose body was read, None without a key; errors as in `key_of`."""
    key = key_of(request)
    if key is None:
        return None
    digest = cast("bytes", request.scope[DIGEST])  # type: ignore[literal-required]
    asked = f"{request.method} {request.scope['path']}?".encode() + request.scope["query_string"] + b"\n" + digest
    return Once(caller(request), key, hashlib.sha256(asked).digest())


def repeated(answer: Envelope[S], status: int) -> Envelope[S]:
    """Return an answer that was given before, and say so in a header."""
    return cast("Envelope[S]", Response(answer, status_code=status, headers=REPEATED))


async def answered(
    request: Call, form: type[S], work: Callable[[], Awaitable[S]], status: int = 200, *, kept: bool = False
) -> Envelope[S]:
    """Do `work` and answer; a request that has a key and was answered is not done again.

    `kept`: the work keeps its answer itself, in its own transaction; else it is harmless to repeat.
    """
    once = once_of(request)
    if once is None:
        return ok(request, await work())
    answers = Idempotency(platform_of(request).database)
    found = await answers.find(once)
    if found is None:
        try:
            done = await work()
            found = None if kept else await answers.keep(once, done)
        except LateError:
            found = await answers.find(once)
        else:
            if found is None:
                return ok(request, done)
    return repeated(ok(request, msgspec.json.decode(found or b"null", type=cast("Any", form))), status)
