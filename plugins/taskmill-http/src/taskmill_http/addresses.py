"""Which addresses a task may reach: everything on the public internet, and nothing inside, unless it is allowed.

Every hop is guarded twice: literal addresses before the request, names when they are resolved for the very
connection, so that a name which changes its mind (DNS rebinding) gains nothing. A host that the C library would read
as an address, but that is not written as one (`127.1`, `0x7f000001`, full-width digits), is refused: such spellings
slip past whoever compares texts.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

import idna
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from taskmill.plugin import Words
from taskmill_http import config as limits
from taskmill_http import reasons

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052：低 32 位是 IPv4 地址
_UNICAST = IPv6Network("2000::/3")  # IANA 只从这里分配全球单播，其余（fec0::/10、5f00::/16 等）都不是公网
_INSIDE6 = (IPv6Network("3fff::/20"),)  # 文档用，旧版 Python 的表里没有
_INSIDE4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))  # IETF 专用；已废弃的 6to4 中继
_SCHEME = re.compile(r"(?i:https?)://")


class ForbiddenAddressError(Exception):
    """The URL leads to an address that tasks may not reach, or is none that can be requested; `words` say why in both languages."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.en)
        self.words = words


def is_public(text: str) -> bool:
    """Say whether the address is globally reachable; addresses that wrap an IPv4 one are judged by that one."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is None:
            return address in _UNICAST and address.is_global and not any(address in network for network in _INSIDE6)
        address = inner
    inside = address.is_multicast or address.is_reserved or any(address in network for network in _INSIDE4)
    return address.is_global and not inside


def parse(text: str) -> URL:
    """Return the absolute URL that `text` is. ForbiddenAddressError if its host is written in a misleading way."""
    if len(text) > limits.URL_MAX_CHARS:
        raise ForbiddenAddressError(reasons.URL_ABOVE(limit=limits.URL_MAX_CHARS))
    if _SCHEME.match(text) is None:
        raise ForbiddenAddressError(reasons.ONLY_HTTP)
    written = urlsplit(text)
    if len(written.netloc) > limits.HOST_MAX_CHARS:
        raise ForbiddenAddressError(reasons.HOST_ABOVE(limit=limits.HOST_MAX_CHARS))
    host = written.hostname or ""
    _refuse_disguised(host)
    host = unquote(host)
    registered = None if host.isascii() else _registered(host)
    return URL(text) if registered is None else URL(text).with_host(registered)


def check_url(url: URL, *, allow_private: bool) -> None:
    """Raise ForbiddenAddressError unless `url` is http(s), without credentials, and no literal private address."""
    if url.scheme not in {"http", "https"} or not url.host:
        raise ForbiddenAddressError(reasons.ONLY_HTTP)
    if url.user is not None or url.password is not None:
        raise ForbiddenAddressError(reasons.CREDENTIALS)
    _refuse_disguised(url.raw_host or "")
    if not allow_private and _is_literal(url.host) and not is_public(url.host):
        raise ForbiddenAddressError(reasons.NOT_PUBLIC(host=url.host))


class GuardedResolver(AbstractResolver):
    """Resolves names and refuses a name as soon as one of its addresses is not public."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Return the addresses of `host`; ForbiddenAddressError if one of them is not public."""
        found = await self._inner.resolve(host, port, family)
        for entry in found:
            if not is_public(entry["host"]):
                raise ForbiddenAddressError(reasons.NOT_PUBLIC(host=host))
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._inner.close()


def _registered(host: str) -> str:
    """IDNA 2008；yarl 编不出来时退回 2003 年的规则，那会是另一个域名。"""
    try:
        return idna.encode(host, uts46=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError):
        raise ForbiddenAddressError(reasons.NO_DOMAIN(host=host)) from None


def _refuse_disguised(host: str) -> None:
    plain = normalize("NFKC", unquote(host)).replace("。", ".").rstrip(".")
    try:
        socket.inet_aton(plain)  # 十进制、八进制、十六进制、缺段的写法它都认
    except (OSError, ValueError):
        return
    if host != plain or not _is_literal(plain):
        raise ForbiddenAddressError(reasons.DISGUISED(host=host))


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
