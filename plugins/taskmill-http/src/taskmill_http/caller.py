"""Sends one request and follows redirects until there is an answer to judge."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from taskmill import Discard, Retry, TaskContext
from taskmill.plugin import Words
from taskmill_http import bodies, reasons
from taskmill_http import config as limits
from taskmill_http import headers as request_headers
from taskmill_http.addresses import ForbiddenAddressError, check_url, parse
from taskmill_http.answers import Answer, judge
from taskmill_http.bodies import Body
from taskmill_http.config import HttpConfig
from taskmill_http.connection import Head, open_session
from taskmill_http.headers import Trust
from taskmill_http.messages import HttpRequest, HttpResponse

_REDIRECTS = {301, 302, 303, 307, 308}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


async def call(request: HttpRequest, context: TaskContext, config: HttpConfig) -> HttpResponse:
    """Return the answer to `request`.

    Raises Retry for timeouts, broken connections, certificates, 408, 425, 429 and 5xx (after what Retry-After says),
    Discard for other unexpected answers and for requests that must not be sent. An answer with an expected status is
    a result, whatever its header and body hold.
    """
    if request.timeout_s > config.timeout_max_s:
        raise Discard(reasons.TIMEOUT_ABOVE(limit=f"{config.timeout_max_s:g}"))
    started = time.monotonic()
    try:
        answer = await _Exchange(request, context, config).run(started + request.timeout_s)
    except ForbiddenAddressError as error:
        raise Discard(error.words) from error
    except TimeoutError as error:
        raise Retry(reasons.NO_ANSWER(seconds=f"{request.timeout_s:g}")) from error
    except aiohttp.ClientSSLError as error:  # 证书错误也是 ValueError，要先认出来；运维能换证书，请求不必丢
        raise Retry(_tls(error)) from error
    except (aiohttp.InvalidURL, ValueError) as error:
        raise Discard(reasons.CANNOT_SEND(error=error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Retry(f"{type(error).__name__}: {error}") from error
    return judge(answer, request, round((time.monotonic() - started) * 1_000), context.result_max_bytes)


class _Exchange:
    """一次请求连同它的重定向。"""

    def __init__(self, request: HttpRequest, context: TaskContext, config: HttpConfig) -> None:
        self._request, self._context, self._config = request, context, config
        self._method, self._body = request.method, _body(request)
        self._trust = Trust.ORIGIN
        self._head = Head()
        self._kept_bytes = min(request.max_response_bytes, config.response_max_bytes, context.result_max_bytes)

    async def run(self, deadline: float) -> Answer:
        request_headers.check(self._request.headers)
        origin = url = parse(self._request.url)
        async with open_session(self._head, self._request.timeout_s, allow_private=self._config.allow_private) as session:
            for _ in range(limits.REDIRECTS_MAX + 1):
                check_url(url, allow_private=self._config.allow_private)
                answer = await self._send(session, url, deadline)
                if isinstance(answer, Answer):
                    return answer
                following = _following(url, answer)
                self._trust = request_headers.trust(following, origin, self._trust, self._config)
                url = following
        raise Discard(reasons.TOO_MANY_REDIRECTS(limit=limits.REDIRECTS_MAX))

    async def _send(self, session: aiohttp.ClientSession, url: URL, deadline: float) -> Answer | str:
        """发出一次请求；返回应答，或者要跟随的地址。"""
        if self._body is not None and self._trust is Trust.STRANGER:
            raise Discard(reasons.BODY_STAYS(place=url.origin()))
        headers = request_headers.build(self._request.headers, url, self._trust, self._config, self._context.id)
        if self._request.json is not msgspec.UNSET and self._body is not None:
            headers.setdefault("Content-Type", "application/json")
        self._head.clear()
        timeout = aiohttp.ClientTimeout(total=max(deadline - time.monotonic(), 0.001))  # 总时间跨所有重定向
        try:
            answer = await session.request(
                self._method, url, headers=headers, data=self._body, allow_redirects=False, timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if self._head.status is None:
                raise
            reason = f"the header cannot be read: {type(error).__name__}: {error}"
            return Answer(self._head.status, str(url), Body("", truncated=True, incomplete=reason))
        try:
            if answer.status in _REDIRECTS and "Location" in answer.headers and not self._request.expects(answer.status):
                self._method, self._body = _next(answer.status, self._method, self._body)
                return answer.headers["Location"]
            expected = self._request.expects(answer.status)
            body = await bodies.read(answer, self._kept_bytes if expected else limits.REASON_READ_BYTES)
            return Answer(answer.status, str(answer.url), body, answer.headers)
        finally:
            answer.close()


def _tls(error: aiohttp.ClientSSLError) -> Words:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return reasons.CERTIFICATE(host=error.host, error=error.certificate_error)
    return reasons.TLS(host=error.host, error=error)


def _body(request: HttpRequest) -> bytes | None:
    if request.json is not msgspec.UNSET:
        return msgspec.json.encode(request.json)
    return None if request.body is None else request.body.encode()


def _following(url: URL, location: str) -> URL:
    """Location 里不是 ASCII 的字节照原样百分号编码，浏览器也这样做。"""
    text = quote(location.encode(errors="surrogateescape"), safe=_VISIBLE)
    try:
        if text.startswith("//"):
            text = f"{url.scheme}:{text}"
        following = parse(text) if _SCHEME.match(text) else parse(str(url.join(URL(text))))
    except ValueError as error:
        raise Discard(reasons.NO_URL(text=text[: limits.REASON_MAX_CHARS])) from error
    if url.scheme == "https" and following.scheme != "https":
        raise Discard(reasons.DOWNGRADED(scheme=following.scheme))
    return following


def _next(status: int, method: str, body: bytes | None) -> tuple[str, bytes | None]:
    """RFC 9110：303 一律改 GET，301/302 只有 POST 改 GET，307/308 原样。"""
    if status == HTTPStatus.SEE_OTHER and method != "HEAD":
        return "GET", None
    if status in {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND} and method == "POST":
        return "GET", None
    return method, body
