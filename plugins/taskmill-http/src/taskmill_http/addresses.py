"""Which addresses a task may reach: everything on the public internet, and nothing inside, unless it is allowed.

Every hop is guarded twice: literal addresses before the request, names when they are resolved for the very
connection, so that a name which changes its mind (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052：低 32 位是 IPv4 地址
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")  # RFC 8215：本地使用


class ForbiddenAddressError(Exception):
    """The URL leads to an address that tasks may not reach, or is none that can be requested."""


def is_public(text: str) -> bool:
    """Say whether the address is globally reachable; addresses that wrap an IPv4 one are judged by that one."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address in _NAT64_LOCAL:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_url(url: URL, *, allow_private: bool) -> None:
    """Raise ForbiddenAddressError unless `url` is http(s), without credentials, and no literal private address."""
    if url.scheme not in {"http", "https"} or not url.host:
        message = "only http and https URLs / 只支持 http 与 https 地址"
        raise ForbiddenAddressError(message)
    if url.user is not None or url.password is not None:
        message = "credentials belong into a header, not into the URL / 凭据应放在请求头里"
        raise ForbiddenAddressError(message)
    if not allow_private and _is_literal(url.host) and not is_public(url.host):
        raise ForbiddenAddressError(_private(url.host))


class GuardedResolver(AbstractResolver):
    """Resolves names and refuses a name as soon as one of its addresses is not public."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; ForbiddenAddressError if one of them is not public."""
        found = await self._inner.resolve(host, port, family)
        for entry in found:
            if not is_public(entry["host"]):
                raise ForbiddenAddressError(_private(host))
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._inner.close()


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _private(host: str) -> str:
    return f"{host} is not a public address; TASKMILL_PLUGIN_HTTP_ALLOW_PRIVATE / {host} 不是公网地址"
