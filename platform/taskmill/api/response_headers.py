"""Headers that every answer has, whoever made it: nothing is sniffed, framed, cached or referred to by accident."""

from __future__ import annotations

from collections.abc import Iterable

from taskmill.api import constants as c
from taskmill.errors import TaskmillError

Header = tuple[bytes, bytes]
# 页面自己带着更宽的策略；别的回答不是给浏览器渲染的
SECURITY: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_RETRY_LATER = frozenset({429, 503})
_RETRY_AFTER: Header = (b"retry-after", str(c.RETRY_AFTER_S).encode())
STATIC_PATH = "/schema/static"  # 随包发布的文件：浏览器可以留着，凭 ETag 再问


def secured(path: str, headers: Iterable[Header], extra: Iterable[Header] = ()) -> list[Header]:
    """Return the headers of an answer for `path` with the missing ones added, and `extra`."""
    found = [*headers, *extra]
    present = {name.lower() for name, _ in found}
    cacheable = path.startswith(STATIC_PATH)
    found += [
        header for header in SECURITY if header[0] not in present and not (cacheable and header[0] == b"cache-control")
    ]
    return found


def retry_after(error: TaskmillError) -> list[Header]:
    """Return when to come again, for errors that pass by themselves."""
    return [_RETRY_AFTER] if error.spec.status in _RETRY_LATER else []


def lines(headers: list[Header]) -> bytes:
    """Return header lines as they are sent, the security headers included."""
    return b"".join(b"%b: %b\r\n" % header for header in [*headers, *SECURITY])
