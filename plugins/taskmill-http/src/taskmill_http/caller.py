"""Sends one request, follows redirects, and turns the answer into a result, a retry or the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
import msgspec
from yarl import URL

from taskmill import Discard, Retry, TaskContext
from taskmill_http import config as limits
from taskmill_http import headers as request_headers
from taskmill_http.addresses import ForbiddenAddressError, GuardedResolver, check_url
from taskmill_http.config import HttpConfig
from taskmill_http.messages import HttpRequest, HttpResponse

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_REDIRECTS = {301, 302, 303, 307, 308}
_KEPT = ("Content-Type", "Content-Length", "Date", "ETag", "Last-Modified", "Location", "Retry-After", "X-Request-Id")


async def call(request: HttpRequest, context: TaskContext, config: HttpConfig) -> HttpResponse:
    """Return the answer to `request`.

    Raises Retry for timeouts, broken connections, 408, 425, 429 and 5xx (after what Retry-After says), Discard for
    other unexpected answers and for requests that must not be sent.
    """
    if request.timeout_s > config.timeout_max_s:
        raise Discard(f"timeout_s is above {config.timeout_max_s:g} / timeout_s 超过上限")
    started = time.monotonic()
    try:
        async with _session(request, config) as session:
            return await _exchange(session, request, context, config, started)
    except ForbiddenAddressError as error:
        raise Discard(str(error)) from error
    except TimeoutError as error:
        raise Retry(f"no answer within {request.timeout_s:g} s / {request.timeout_s:g} 秒内无应答") from error
    except (aiohttp.InvalidURL, ValueError) as error:
        raise Discard(f"the request cannot be sent / 请求无法发送: {error}") from error
    except aiohttp.ClientError as error:
        raise Retry(f"{type(error).__name__}: {error}") from error


def _session(request: HttpRequest, config: HttpConfig) -> aiohttp.ClientSession:
    resolver = None if config.allow_private else GuardedResolver()
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False),
        timeout=aiohttp.ClientTimeout(total=request.timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # 环境里的代理会绕过地址检查
    )


async def _exchange(
    session: aiohttp.ClientSession, request: HttpRequest, context: TaskContext, config: HttpConfig, started: float
) -> HttpResponse:
    origin = url = URL(request.url)
    method, body = request.method, _body(request)
    deadline = started + request.timeout_s
    for _ in range(limits.REDIRECTS_MAX + 1):
        check_url(url, allow_private=config.allow_private)
        headers = request_headers.build(request.headers, url, origin, config, context.id)
        if request.json is not msgspec.UNSET and body is not None:
            headers.setdefault("Content-Type", "application/json")
        timeout = aiohttp.ClientTimeout(total=max(deadline - time.monotonic(), 0.001))  # 总时间跨所有重定向
        async with session.request(
            method, url, headers=headers, data=body, allow_redirects=False, timeout=timeout
        ) as answer:
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or location is None or request.expects(answer.status):
                return await _judge(answer, request, config, started)
            following = url.join(URL(location))
            if url.scheme == "https" and following.scheme != "https":
                raise Discard(f"redirected from https to {following.scheme} / 被重定向到不安全的地址")
            method, body = _next(answer.status, method, body)
            url = following
    raise Discard(f"more than {limits.REDIRECTS_MAX} redirects / 重定向超过 {limits.REDIRECTS_MAX} 次")


def _body(request: HttpRequest) -> bytes | None:
    if request.json is not msgspec.UNSET:
        return msgspec.json.encode(request.json)
    return None if request.body is None else request.body.encode()


def _next(status: int, method: str, body: bytes | None) -> tuple[str, bytes | None]:
    """RFC 9110：303 一律改 GET，301/302 只有 POST 改 GET，307/308 原样。"""
    if status == HTTPStatus.SEE_OTHER and method != "HEAD":
        return "GET", None
    if status in {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND} and method == "POST":
        return "GET", None
    return method, body


async def _judge(
    answer: aiohttp.ClientResponse, request: HttpRequest, config: HttpConfig, started: float
) -> HttpResponse:
    body, truncated = await _read(answer, min(request.max_response_bytes, config.response_max_bytes))
    text = body.decode(_charset(answer), errors="replace").replace("\x00", "\ufffd")  # jsonb 存不了 NUL
    if request.expects(answer.status):
        return HttpResponse(
            status=answer.status, url=str(answer.url), body=text, truncated=truncated,
            headers={name: answer.headers[name] for name in _KEPT if name in answer.headers},
            elapsed_ms=round((time.monotonic() - started) * 1_000),
        )
    reason = f"status {answer.status}: {text[: limits.REASON_MAX_CHARS]}"
    if answer.status in _TRANSIENT or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Retry(reason, after=retry_after(answer.headers, datetime.now(UTC)))
    raise Discard(reason)


async def _read(answer: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """最多读 limit + 1 字节：多出的一字节说明被截断；其余不读，直接断开。"""
    body = bytearray()
    while len(body) <= limit:
        chunk = await answer.content.read(limit + 1 - len(body))
        if not chunk:
            return bytes(body), False
        body += chunk
    answer.close()
    return bytes(body[:limit]), True


def _charset(answer: aiohttp.ClientResponse) -> str:
    charset = answer.charset or "utf-8"
    try:
        "".encode(charset)
    except LookupError:
        return "utf-8"
    return charset


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for, a number or a date, at most an hour; None without a valid one."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), limits.RETRY_AFTER_MAX_S)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), limits.RETRY_AFTER_MAX_S)
