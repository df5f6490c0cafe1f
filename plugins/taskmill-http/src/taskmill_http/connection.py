"""Connections that remember the status line, so that an answer whose header cannot be read still has a verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from taskmill_http import config as limits
from taskmill_http.addresses import GuardedResolver

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?=[ \r\n])")
_FINAL = 200  # 1xx 只是中间应答
_UPGRADE = 101


class Head:
    """The first bytes of an answer, until aiohttp has read its header."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.read = False

    def clear(self) -> None:
        """Make ready for the next request."""
        self._bytes.clear()
        self.read = False

    def add(self, data: bytes) -> bool:
        """Keep `data`; False if the header is too long."""
        if not self.read:
            self._bytes += data
        return len(self._bytes) <= limits.HEAD_MAX_BYTES

    @property
    def status(self) -> int | None:
        """Return the status of the answer, or None if no status line came."""
        position = 0
        while match := _STATUS.match(self._bytes, position):
            status = int(match[1])
            if status >= _FINAL or status == _UPGRADE:
                return status
            end = self._bytes.find(b"\r\n\r\n", position)
            if end < 0:
                return None
            position = end + 4
        return None


class _Protocol(ResponseHandler):
    def __init__(self, head: Head, **options: Any) -> None:
        super().__init__(**options)
        self._head = head

    def data_received(self, data: bytes) -> None:
        fits = self._head.add(data)
        super().data_received(data)
        if not fits and not self._head.read:
            self.set_exception(aiohttp.ClientPayloadError(f"header above {limits.HEAD_MAX_BYTES} bytes"))
            self.close()

    def feed_data(self, data: Any, *size: int) -> None:
        self._head.read = self._head.read or data[0].code >= _FINAL or data[0].code == _UPGRADE
        super().feed_data(data, *size)


class _NoCookies(aiohttp.DummyCookieJar):
    """aiohttp 的空罐子也会先解析 Set-Cookie 再丢掉；这里根本不解析。"""

    def update_cookies_from_headers(self, headers: Any, response_url: URL) -> None:
        """Do nothing."""


def open_session(head: Head, timeout_s: float, *, allow_private: bool) -> aiohttp.ClientSession:
    """Return a session for one request and its redirects, which tells `head` what it receives."""
    connector = aiohttp.TCPConnector(resolver=None if allow_private else GuardedResolver(), use_dns_cache=False)
    connector._factory = partial(_Protocol, head, loop=connector._loop)  # noqa: SLF001 - 没有公开的入口，有测试盯着
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=_NoCookies(),
        auto_decompress=False,  # 自己解压：有上限，坏了也不丢掉成功的请求
        max_line_size=limits.HEAD_LINE_MAX_BYTES,
        max_field_size=limits.HEAD_LINE_MAX_BYTES,
        trust_env=False,  # 环境里的代理会绕过地址检查
    )


def readable(headers: Mapping[str, str], name: str) -> str:
    """Return a header as text, cut; bytes that are not UTF-8 count as Latin-1 (RFC 9110, 5.5)."""
    value = headers.get(name, "")
    try:
        return value.encode().decode()
    except UnicodeEncodeError:
        return value.encode(errors="surrogateescape").decode("latin-1")
