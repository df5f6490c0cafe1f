"""Connecting to one of several hosts: one that is silent must not keep us from the next.

asyncpg has one time limit for all hosts of a URL together, so a node that vanished (no refusal, no answer) uses it up
whenever it stands before the new primary. Here each host gets its share of the limit.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import asyncpg

from taskmill import constants as c
from taskmill.urls import PostgresUrl, UrlError, parse_database_url

# 换下一台：不答、拒绝、正在启动、不是要找的那种服务器
NEXT = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
ONE_OF = frozenset({"read-write", "primary"})  # 只有一台合格：从哪台找起都一样

_first: dict[str, str] = {}  # 从哪台找起：上次连上的；没连上（等的人可能先走了）就是它的下一台


async def reach(dsn: str | None = None, *, timeout: float = c.CONNECT_TIMEOUT_S, **given: Any) -> Any:  # noqa: ASYNC109 - asyncpg 的签名
    """Connect as `asyncpg.connect` does, within `timeout` seconds in all; the error is that of the last host."""
    several = _several(dsn)
    if several is None:
        return await asyncpg.connect(dsn, timeout=timeout, **given)
    until = time.monotonic() + timeout
    hosts = _order(several)
    for place, host in enumerate(hosts):
        share = max(until - time.monotonic(), 0) / (len(hosts) - place)
        _first[several.hosts] = hosts[(place + 1) % len(hosts)]
        try:
            made = await asyncpg.connect(_url(several, host), timeout=share, **given)
        except NEXT:
            if place == len(hosts) - 1:
                raise
        else:
            _first[several.hosts] = host
            return made
    return None  # 走不到：最后一台要么连上，要么抛出


def _several(dsn: str | None) -> PostgresUrl | None:
    """网址里写着几台主机才拆开；`prefer-standby` 要先看过所有的，留给驱动。"""
    if dsn is None or "," not in dsn:
        return None
    try:
        found = parse_database_url(dsn)
    except UrlError:
        return None
    parameters = dict(found.parameters)
    return None if "," not in found.hosts or parameters.get("target_session_attrs") == "prefer-standby" else found


def _order(several: PostgresUrl) -> list[str]:
    hosts, first = several.hosts.split(","), _first.get(several.hosts)
    if first is None or dict(several.parameters).get("target_session_attrs") not in ONE_OF:
        return hosts
    start = hosts.index(first)
    return [*hosts[start:], *hosts[:start]]


def _url(several: PostgresUrl, host: str) -> str:
    one = replace(several, hosts=host)
    return f"postgresql://{one.account}{one.hosts}{one.path}{one.query}"
