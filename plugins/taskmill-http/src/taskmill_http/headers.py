"""Headers of a request: secrets filled in for their hosts only, forbidden names refused, dropped across origins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from uuid import UUID

from yarl import URL

from taskmill import Discard
from taskmill_http.config import HttpConfig

IDEMPOTENCY_KEY = "Idempotency-Key"
_SECRET = re.compile(r"(?P<scheme>[A-Za-z]+ )?secret:(?P<name>\w+)")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 的 token
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})


def build(given: Mapping[str, str], url: URL, origin: URL, config: HttpConfig, task_id: UUID) -> dict[str, str]:
    """Return the headers for a request to `url` in a chain that began at `origin`. Discard if one is not allowed."""
    same = url.origin() == origin.origin()
    headers = {"User-Agent": config.user_agent, IDEMPOTENCY_KEY: str(task_id)}
    for name, value in given.items():
        _check(name, value)
        match = _SECRET.fullmatch(value)
        if not same and (match is not None or name.lower() in _CREDENTIALS):
            continue  # 重定向到别处时，凭据绝不跟过去
        for default in [key for key in headers if key.lower() == name.lower()]:
            del headers[default]
        headers[name] = value if match is None else _reveal(match, url, config)
    return headers


def _check(name: str, value: str) -> None:
    if _NAME.fullmatch(name) is None or name.lower() in _FRAMING:
        raise Discard(f"header {name!r} is not allowed / 不允许的请求头")
    if any(ord(char) < ord(" ") and char != "\t" for char in value):
        raise Discard(f"header {name} contains control characters / 请求头含控制字符")


def _reveal(match: re.Match[str], url: URL, config: HttpConfig) -> str:
    name = match["name"]
    secret = config.secrets.get(name)
    if secret is None:
        raise Discard(f"no secret {name} is configured / 没有配置机密 {name}")
    if url.host not in secret.hosts:
        raise Discard(f"secret {name} may not go to {url.host} / 机密 {name} 不能发往 {url.host}")
    if url.scheme != "https" and not config.allow_private:
        raise Discard(f"secret {name} needs https / 机密 {name} 只能经 https 发送")
    return (match["scheme"] or "") + secret.value.reveal()
