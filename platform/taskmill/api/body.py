"""Reading what clients send: size, content type, JSON, types, and words that name the field."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
from litestar import Request

from taskmill import constants as c
from taskmill import reasons
from taskmill.api import constants as ac
from taskmill.api.call import header
from taskmill.errors import Code, InputError, LimitError, TaskmillError
from taskmill.text.validation import in_both

IDEMPOTENCY = b"idempotency-key"
DIGEST = "taskmill.body_sha256"  # 放进 ASGI scope：正文只读一次
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
AnyRequest = Request[Any, Any, Any]
_PLACE = re.compile(r"^(?P<reason>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_LENGTH_DIGITS = 18
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `(.+)`")


class Decoder(Protocol[T_co]):
    """A msgspec decoder, made once per type."""

    def decode(self, buf: bytes | bytearray | memoryview | msgspec.Raw, /) -> T_co:
        """Return the value; msgspec.DecodeError or its subclass ValidationError."""
        ...


async def read(request: AnyRequest, limit: int) -> bytes | bytearray:
    """Return the body, at most `limit` bytes; LimitError BODY_TOO_LARGE as soon as it is known to be larger."""
    declared = header(request.scope, b"content-length")
    if declared is not None and declared.isdecimal() and int(declared[:_LENGTH_DIGITS]) > limit:
        raise LimitError(Code.BODY_TOO_LARGE, limit=limit)
    found: bytes | bytearray = b""
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            # 客户端已走，回答没有人收；访问日志会记 499
            raise InputError(Code.MALFORMED_HTTP, reason=reasons.CLIENT_LEFT)
        chunk = message.get("body", b"")
        if len(found) + len(chunk) > limit:
            raise LimitError(Code.BODY_TOO_LARGE, limit=limit)
        if not found:
            found = chunk
        else:
            # 就地变长：先攒一串再连起来，大的请求体会有两份
            found = found if isinstance(found, bytearray) else bytearray(found)
            found += chunk
        more = message.get("more_body", False)
    if header(request.scope, IDEMPOTENCY) is not None:
        request.scope[DIGEST] = hashlib.sha256(found).digest()  # type: ignore[literal-required]
    return found


async def read_json(request: AnyRequest, decoder: Decoder[T], limit: int) -> T:
    """Return the decoded JSON body.

    Raises InputError UNSUPPORTED_MEDIA_TYPE, MALFORMED_JSON (400), INVALID_REQUEST (422, names field and reason),
    ARGS_TOO_DEEP; LimitError BODY_TOO_LARGE.
    """
    return decode(await read_typed(request, limit), decoder)


async def read_typed(request: AnyRequest, limit: int) -> bytes | bytearray:
    """Return the body of a request that says it is JSON; errors as in `read_json`."""
    check_content_type(header(request.scope, b"content-type") or "")
    return await read(request, limit)


async def refuse_body(request: AnyRequest) -> None:
    """Refuse a body where none has a meaning, except an empty object."""
    raw = await read(request, ac.BODY_IGNORED_MAX_BYTES)
    if bytes(raw.strip()) not in {b"", b"{}"}:
        raise InputError(Code.INVALID_REQUEST, field="body", reason=reasons.NO_BODY)


def decode(raw: bytes | bytearray | memoryview | msgspec.Raw, decoder: Decoder[T], at: str = "$") -> T:
    """Return the decoded value; errors as in `read_json`, with fields below `at`, where the value stands in the body."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid(str(error), at) from error
    except UnicodeDecodeError as error:
        raise InputError(Code.MALFORMED_JSON, reason=reasons.NOT_UTF8(error=error.reason)) from error
    except msgspec.DecodeError as error:
        raise InputError(Code.MALFORMED_JSON, reason=in_both(str(error))) from error
    except RecursionError as error:
        raise InputError(Code.ARGS_TOO_DEEP, field="body", limit=c.ARGS_MAX_DEPTH) from error


def check_content_type(value: str) -> None:
    """Accept `application/json` in UTF-8 only; InputError UNSUPPORTED_MEDIA_TYPE."""
    if value == "application/json":
        return
    kind, _, rest = value.partition(";")
    charset = rest.strip().lower()
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8", 'charset="utf-8"'}:
        raise InputError(Code.UNSUPPORTED_MEDIA_TYPE, content_type=value or reasons.NONE_GIVEN)


def read_query(request: AnyRequest, form: type[T]) -> T:
    """Return the query parameters as a Struct; a repeated, unknown or wrong one is INVALID_REQUEST."""
    given: dict[str, str | int] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise InputError(Code.INVALID_REQUEST, field=name, reason=reasons.GIVEN_TWICE)
        given[name] = int(value) if name in _integers(form) and _INTEGER.fullmatch(value) else value
    try:
        # 严格：宽松模式会把 null 当作没给、把 0.5 当作时间
        return msgspec.convert(given, form)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from error


@cache
def _integers(form: type[Any]) -> frozenset[str]:
    info = msgspec.inspect.type_info(form)
    fields = info.fields if isinstance(info, msgspec.inspect.StructType) else ()
    # 带说明的字段外面包着一层 Metadata
    kinds = {field.name: getattr(field.type, "type", field.type) for field in fields}
    return frozenset(name for name, kind in kinds.items() if isinstance(kind, msgspec.inspect.IntType))


def task_id(text: str) -> UUID:
    """Return the id in a path; InputError INVALID_REQUEST if it is not a UUID."""
    try:
        return UUID(text)
    except ValueError as error:
        raise InputError(Code.INVALID_REQUEST, field="task_id", reason=reasons.NOT_A_UUID) from error


def name(text: str, field: str) -> str:
    """Return a name in a path; InputError INVALID_REQUEST if no such name can exist."""
    if "\x00" in text or len(text) > c.NAME_MAX_CHARS:
        raise InputError(Code.INVALID_REQUEST, field=field, reason=reasons.NO_SUCH_NAME(limit=c.NAME_MAX_CHARS))
    return text


def invalid(message: str, at: str = "$") -> TaskmillError:
    """Return INVALID_REQUEST with the field and the reason of a msgspec message about the value at `at`, in both languages."""
    match = _PLACE.match(message)
    reason, path = (match["reason"], match["path"] or "$") if match else (message, "$")
    named = _NAMED.fullmatch(reason)
    field = f"{at}{path.removeprefix('$')}".removeprefix("$").removeprefix(".")
    if named:
        field = f"{field}.{named[1]}" if field else named[1]
    return InputError(Code.INVALID_REQUEST, field=field or "body", reason=in_both(reason))
