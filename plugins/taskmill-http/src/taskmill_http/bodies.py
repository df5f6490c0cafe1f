"""The body of an answer as text: unpacked and decoded within limits, and never a reason to lose the answer."""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Literal

import aiohttp

from taskmill_http import config as limits
from taskmill_http.connection import readable

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.ASCII | re.IGNORECASE)
_CHARSETS = frozenset(
    {  # 只有查表的编码：时间与长度成正比，错字节可以替换；utf-7、punycode、idna 等一概当 utf-8
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "latin1",
        "latin-1",
        "utf-16",
        "utf-16le",
        "utf-16be",
        "gbk",
        "gb2312",
        "gb18030",
        "big5",
        "shift_jis",
        "shift-jis",
        "sjis",
        "euc-jp",
        "iso-2022-jp",
        "euc-kr",
        "koi8-r",
        "koi8-u",
        *(f"iso-8859-{part}" for part in range(1, 17) if part != 12),  # noqa: PLR2004
        *(f"windows-125{part}" for part in range(9)),
    }
)
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB_METHOD = 8  # 首字节低四位；不是它就是不带头的 deflate


@dataclass(slots=True)
class Body:
    """What could be read; `incomplete` says why it is not the whole, empty if it is or was only cut to the limit."""

    text: str
    truncated: bool = False
    incomplete: str = ""
    encoding: Literal["text", "base64"] = "text"


async def read(answer: aiohttp.ClientResponse, limit: int) -> Body:
    """Return the first `limit` bytes of the body, unpacked. Raises nothing but CancelledError."""
    coding = readable(answer.headers, "Content-Encoding").strip().lower()
    unpack = _Unpacker(coding) if coding in _PACKED else None
    data, incomplete = bytearray(), ""
    try:
        while len(data) <= limit:
            room = limit + 1 - len(data)  # 多出的一字节说明被截断
            chunk = await answer.content.read(limits.CHUNK_BYTES if unpack else min(room, limits.CHUNK_BYTES))
            if not chunk:
                break
            if unpack:
                unpack.feed(chunk, data, limit + 1)
            else:
                data += chunk
        if len(data) <= limit and unpack and not unpack.finished:
            incomplete = f"the {coding} body ends too early"
    except zlib.error as error:
        incomplete = f"the body is not {coding}: {error}"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        incomplete = f"the body broke off: {type(error).__name__}"  # 状态已经到了：断开的只是正文
    answer.close()
    kept, truncated = bytes(data[:limit]), len(data) > limit or incomplete != ""
    if kept and coding not in _PACKED and coding not in {"", "identity"}:  # 没有要求过的编码，如 br、zstd
        return Body(b64encode(kept).decode(), truncated, incomplete or f"not unpacked: {coding[:40]}", "base64")
    return Body(_decode(kept, readable(answer.headers, "Content-Type")), truncated, incomplete)


def _decode(data: bytes, content_type: str) -> str:
    match = _CHARSET.search(content_type[: limits.RESPONSE_TYPE_MAX_CHARS])
    charset = match[1].lower() if match is not None else "utf-8"
    return data.decode(charset if charset in _CHARSETS else "utf-8", errors="replace")


class _Unpacker:
    """gzip（可以有几段）与 deflate，输出有上限。"""

    def __init__(self, coding: str) -> None:
        self._gzip = coding != "deflate"
        self._inner = zlib.decompressobj(_GZIP) if self._gzip else None
        self._fed = False

    @property
    def finished(self) -> bool:
        return not self._fed or (self._inner is not None and self._inner.eof)

    def feed(self, chunk: bytes, into: bytearray, limit: int) -> None:
        """Append what `chunk` unpacks to, until `into` has `limit` bytes; zlib.error keeps what came before it."""
        self._fed = True
        if self._inner is None:
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if chunk[0] & 0x0F == _ZLIB_METHOD else -zlib.MAX_WBITS)
        while chunk and len(into) < limit:
            if self._inner.eof:
                if not self._gzip or not chunk.startswith(b"\x1f"):
                    raise zlib.error("something follows the end")
                self._inner = zlib.decompressobj(_GZIP)
            into += self._inner.decompress(chunk, limit - len(into))
            chunk = self._inner.unused_data
