"""The one shape of every answer, and the request's number that it carries."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import uuid4

import msgspec
from litestar import Request, Response
from litestar.types import Scope

from taskmill.api import constants as c
from taskmill.api.response_headers import retry_after
from taskmill.clock import Timestamp, rfc3339
from taskmill.errors import TaskmillError
from taskmill.words import Words

T = TypeVar("T")
REQUEST_ID_KEY = "taskmill.request_id"  # 外层中间件写入 ASGI scope
_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{c.REQUEST_ID_MAX_CHARS}}}")


SUCCESS = Words(zh="成功", en="ok")


class Envelope(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Every successful answer: `code` is `OK` and `data` holds what was asked for."""

    code: Literal["OK"] = "OK"
    message: Words = SUCCESS
    data: T
    request_id: str
    timestamp: Timestamp


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Every error: `code` is stable, `details` names field, reason and limits where there are any."""

    code: str
    message: Words
    hint: Words | None = None
    details: dict[str, Any]
    data: None = None
    request_id: str
    timestamp: Timestamp


def request_id(scope: Scope) -> str:
    """Return the number of this request; one is made if the outermost layer did not (tests of single routes)."""
    found = scope.get(REQUEST_ID_KEY)
    if not isinstance(found, str):
        found = new_request_id(None)
        scope[REQUEST_ID_KEY] = found  # type: ignore[literal-required]
    return found


def new_request_id(given: str | None) -> str:
    """Return what the client gave if it is sane, else a new number."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return uuid4().hex


def ok(request: Request[Any, Any, Any], data: T) -> Envelope[T]:
    """Wrap the data of a successful answer."""
    return Envelope(data=data, request_id=request_id(request.scope), timestamp=rfc3339(datetime.now(UTC)))


def failure(error: TaskmillError, number: str) -> Failure:
    """Wrap an error."""
    hint = error.hint()
    return Failure(
        code=error.code,
        message=Words(**error.message()),
        hint=Words(**hint) if hint else None,
        details=error.facts(),
        request_id=number,
        timestamp=rfc3339(datetime.now(UTC)),
    )


def failed(error: TaskmillError, scope: Scope, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Return the answer for an error with the status of the table; 429 and 503 say when to try again."""
    headers = {**{name.decode(): value.decode() for name, value in retry_after(error)}, **(headers or {})}
    body = msgspec.json.encode(failure(error, request_id(scope)), enc_hook=str)
    return Response(body, status_code=error.spec.status, media_type="application/json", headers=headers)
