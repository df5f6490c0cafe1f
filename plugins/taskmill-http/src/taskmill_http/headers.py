"""Headers of a request: secrets filled in for their hosts only, forbidden names refused, few of them across origins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from uuid import UUID

from yarl import URL

from taskmill import Discard
from taskmill_http import config as limits
from taskmill_http import reasons
from taskmill_http.config import HttpConfig

IDEMPOTENCY_KEY = "Idempotency-Key"
_SECRET = re.compile(r"(?P<scheme>[A-Za-z]+ )?secret:(?P<name>\w+)")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 的 token
_UNSENDABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # 控制字符与 UTF-8 写不出的
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"})
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})
_HTTP_PORT, _HTTPS_PORT = 80, 443


class Trust(Enum):
    """How much of the request may go to the URL of a redirect."""

    ORIGIN = "everything"
    LISTED = "everything but secrets and credentials"
    STRANGER = "harmless headers, no body"


def trust(url: URL, origin: URL, before: Trust, config: HttpConfig) -> Trust:
    """Return the trust in `url`, reached from one that was trusted `before`; what was lost does not come back."""
    if before is Trust.ORIGIN and (_place(url) == _place(origin) or _upgraded(url, origin)):
        return Trust.ORIGIN
    listed = before is not Trust.STRANGER and url.host in config.redirect_hosts
    return Trust.LISTED if listed else Trust.STRANGER


def check(given: Mapping[str, str]) -> None:
    """Raise Discard if the headers are too many, too large or not allowed."""
    size = sum(len(name) + len(value) for name, value in given.items())
    if len(given) > limits.HEADERS_MAX or size > limits.HEADERS_MAX_BYTES:
        raise Discard(reasons.HEADERS_ABOVE(count=limits.HEADERS_MAX, size=limits.HEADERS_MAX_BYTES))
    for name, value in given.items():
        if _NAME.fullmatch(name) is None or name.lower() in _FRAMING:
            raise Discard(reasons.HEADER_NOT_ALLOWED(name=repr(name)))
        if _UNSENDABLE.search(value):
            raise Discard(reasons.HEADER_CONTROL(name=name))


def build(given: Mapping[str, str], url: URL, trusted: Trust, config: HttpConfig, task_id: UUID) -> dict[str, str]:
    """Return the headers for a request to `url`. Discard if a secret may not go there."""
    headers = {"User-Agent": config.user_agent, "Accept-Encoding": "gzip, deflate", IDEMPOTENCY_KEY: str(task_id)}
    for name, value in given.items():
        match = _SECRET.fullmatch(value)
        if not _goes(name, trusted, secret=match is not None):
            continue
        for default in [key for key in headers if key.lower() == name.lower()]:
            del headers[default]
        headers[name] = value if match is None else _reveal(match, url, config)
    return headers


def _goes(name: str, trusted: Trust, *, secret: bool) -> bool:
    """重定向到别处时，凭据绝不跟过去；自定义的头也可能是密钥，只有点名的主机才给。"""
    if trusted is Trust.ORIGIN:
        return True
    if secret or name.lower() in _CREDENTIALS:
        return False
    return trusted is Trust.LISTED or name.lower() in _HARMLESS


def _place(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.host, url.port


def _upgraded(url: URL, origin: URL) -> bool:
    """同一主机从 http 升到 https（默认端口）：只会更安全。"""
    return _place(origin) == ("http", url.host, _HTTP_PORT) and _place(url) == ("https", origin.host, _HTTPS_PORT)


def _reveal(match: re.Match[str], url: URL, config: HttpConfig) -> str:
    name = match["name"]
    secret = config.secrets.get(name)
    if secret is None:
        raise Discard(reasons.NO_SECRET(name=name))
    if url.host not in secret.hosts:
        raise Discard(reasons.SECRET_HOST(name=name, host=url.host))
    if url.scheme != "https" and not config.allow_private:
        raise Discard(reasons.SECRET_HTTPS(name=name))
    return (match["scheme"] or "") + secret.value.reveal()
