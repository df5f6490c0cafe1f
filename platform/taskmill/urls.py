"""URLs of the servers, taken apart and checked: one host or several, the parameters that libpq knows, never a secret told.

| parameter of a database URL | |
|---|---|
| `host`, `port`, `user`, `password`, `dbname`, `ssl…`, `target_session_attrs`, … | asyncpg does what libpq does |
| `connect_timeout`, `keepalives…`, `tcp_user_timeout`, `channel_binding`, … (`IGNORED`) | accepted without effect |
| `require_auth`, `replication`, … (`UNSUPPORTED`), a `require` that cannot be kept | refused |
| all others, such as `options`, `application_name`, `lock_timeout` | settings of the session; the server refuses unknown ones |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from taskmill import reasons
from taskmill.words import Words

POSTGRES_SCHEMES: Final = ("postgresql", "postgres")
BROKER_SCHEMES: Final = ("redis", "rediss", "unix")
# 时限与保活由本程序自己设；其余的不照办也不会更不安全
IGNORED: Final = frozenset({
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "channel_binding", "gssencmode", "gssdelegation", "sslcompression", "sslsni", "sslcertmode", "load_balance_hosts",
    "fallback_application_name", "client_encoding",
})  # fmt: skip
UNSUPPORTED: Final = frozenset({"hostaddr", "replication", "require_auth", "requirepeer", "requiressl"})
STRICT: Final = frozenset({("gssencmode", "require"), ("sslcertmode", "require")})  # 忽略它们就是降低了要求
FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})
_LAST_PORT = 65_535


class UrlError(ValueError):
    """A URL that cannot be used; `reason` says why without a word of its secrets."""

    def __init__(self, reason: Words) -> None:
        super().__init__(reason.en)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """The parts as they stand in the URL, percent-encoded; `hosts` is empty, `host:port` or several of them with commas."""

    user: str
    password: str
    hosts: str
    path: str
    parameters: tuple[tuple[str, str], ...]

    @property
    def account(self) -> str:
        """Return `user:password@`, or less of it."""
        secret = f":{self.password}" if self.password else ""
        return f"{self.user}{secret}@" if self.user or secret else ""

    @property
    def query(self) -> str:
        """Return the parameters, with their question mark if there are any."""
        return f"?{urlencode(self.parameters, quote_via=quote)}" if self.parameters else ""


def parse_database_url(url: str) -> PostgresUrl:
    """Take a database URL apart; UrlError if it is none, or asks for what cannot be done."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UrlError(reasons.NOT_A_URL) from None
    if parts.scheme.partition("+")[0] not in POSTGRES_SCHEMES or not url[len(parts.scheme) :].startswith("://"):
        raise UrlError(reasons.NOT_POSTGRES)
    account, _, hosts = parts.netloc.rpartition("@")
    # 密码里没有编码的 / ? # @ 会落到别处
    if "@" in account or "@" in parts.path or parts.fragment or not all(map(_is_host, hosts.split(","))):
        raise UrlError(reasons.NOT_A_URL)
    user, _, password = account.partition(":")
    given = _parameters(parts.query)
    # 写成参数的用户与密码挪到前面，就不会随参数进到别处
    user, password = user or quote(given.pop("user", ""), safe=""), password or quote(given.pop("password", ""), safe="")
    return PostgresUrl(user, password, hosts or _hosts(given), parts.path, tuple(given.items()))


def _hosts(given: dict[str, str]) -> str:
    """几台主机写成参数的也一样：`?host=h1,h2&port=5432,5433`；目录里的套接字不能写在前面，留在参数里。"""
    names = given.get("host", "").split(",")
    if len(names) == 1 or any("/" in name for name in names):
        return ""
    ports = given.get("port", "").split(",")
    if len(ports) not in {1, len(names)}:
        raise UrlError(reasons.NOT_A_URL)
    del given["host"]
    given.pop("port", None)
    pairs = zip(names, ports * (len(names) if len(ports) == 1 else 1), strict=True)
    hosts = [f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name, port in pairs]
    if not all(map(_is_host, hosts)):
        raise UrlError(reasons.NOT_A_URL)
    return ",".join(host.removesuffix(":") for host in hosts)


def _is_host(text: str) -> bool:
    host, bracket, rest = text.rpartition("]") if text.startswith("[") else ("", "", text)
    port = rest.removeprefix(":") if bracket else rest.partition(":")[2]
    if bracket and not (host and rest[:1] in {"", ":"}):
        return False
    return not port or (port.isascii() and port.isdigit() and int(port) <= _LAST_PORT)


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise UrlError(reasons.BAD_PARAMETERS) from None
    for pair in pairs:
        name, value = pair
        if name in UNSUPPORTED or pair in STRICT:
            raise UrlError(reasons.NO_SUCH_PARAMETER(name=name))
        if name in FILES and not os.access(value, os.R_OK):
            raise UrlError(reasons.FILE_UNREADABLE(name=name, path=value))
    return {name: value for name, value in pairs if name not in IGNORED}


def check_broker_url(url: str) -> None:
    """Raise UrlError unless it is a URL of Valkey or Redis."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # 它的文字里有密码的片段，不能往外说
        raise UrlError(reasons.NOT_A_URL) from None
    if parts.scheme not in BROKER_SCHEMES or not url[len(parts.scheme) :].startswith("://"):
        raise UrlError(reasons.NOT_REDIS)
    if "@" in parts.path or parts.fragment:
        raise UrlError(reasons.NOT_A_URL)


def address(url: str) -> str:
    """Return a URL without user, password and parameters, fit for logs."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    if "@" in parts.path + parts.query + parts.fragment:
        return "***"  # 没写协议，或密码没有编码：它落到了后面
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
