"""What an answer means: a result, a retry or the end. Once its status is known, nothing but the status decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from taskmill import Discard, Retry
from taskmill.plugin import storable
from taskmill_http import config as limits
from taskmill_http.bodies import Body
from taskmill_http.connection import readable
from taskmill_http.messages import HttpRequest, HttpResponse

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_KEPT = ("Content-Type", "Content-Length", "Date", "ETag", "Last-Modified", "Location", "Retry-After", "X-Request-Id")


@dataclass(slots=True)
class Answer:
    """An answer of which at least the status was read."""

    status: int
    url: str
    body: Body
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def judge(answer: Answer, request: HttpRequest, elapsed_ms: int, max_bytes: int) -> HttpResponse:
    """Return the result, at most `max_bytes` encoded, for an expected status. Else Retry for 408, 425, 429, 5xx, or Discard."""
    if request.expects(answer.status):
        return _result(answer, elapsed_ms, max_bytes)
    quoted, _ = storable(_cut(answer.body.text) or answer.body.incomplete, limits.REASON_READ_BYTES)
    reason = f"status {answer.status}" + (f": {quoted}" if quoted else "")
    if answer.status in _TRANSIENT or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Retry(reason, after=retry_after(answer.headers, datetime.now(UTC)))
    raise Discard(reason)


def _cut(text: str) -> str:
    """引用不完整就看得出来。"""
    return text if len(text) <= limits.REASON_MAX_CHARS else f"{text[: limits.REASON_MAX_CHARS - 1]}…"


def _result(answer: Answer, elapsed_ms: int, max_bytes: int) -> HttpResponse:
    kept = {name: readable(answer.headers, name) for name in _KEPT if name in answer.headers}
    body = answer.body
    result = HttpResponse(
        status=answer.status,
        url=storable(answer.url, max_bytes)[0],
        body="",
        truncated=body.truncated,
        elapsed_ms=elapsed_ms,
        headers={name: storable(value, limits.KEPT_HEADER_MAX_BYTES)[0] for name, value in kept.items()},
        incomplete=storable(body.incomplete, limits.REASON_READ_BYTES)[0],
        body_encoding=body.encoding,
    )
    result.body, cut = storable(body.text, max_bytes - len(msgspec.json.encode(result)))
    result.truncated = result.truncated or cut
    return result


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for, a number or a date, at most an hour; None without a valid one."""
    text = readable(headers, "Retry-After").strip()
    if len(text) > limits.RETRY_AFTER_MAX_CHARS:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), limits.RETRY_AFTER_MAX_S)
    try:
        then = parsedate_to_datetime(text)
        aware = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
        return min(max((aware - now).total_seconds(), 0.0), limits.RETRY_AFTER_MAX_S)
    except (ValueError, OverflowError, TypeError):  # 时区写成天文数字时溢出
        return None
