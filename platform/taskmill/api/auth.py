"""Who may call: API keys, or on a fresh installation the one-time development token from this machine only."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from taskmill import constants as c
from taskmill import reasons
from taskmill.api.call import header
from taskmill.errors import AccessError, Code
from taskmill.services.keys import KeyService, Principal, Scope

Connection = ASGIConnection[Any, Any, Any, Any]
DEVELOPER = Principal(name="dev", scopes=frozenset(Scope))
BEARER = "bearer "


def new_dev_token() -> str:
    """Make a token for this run of the process. It opens the API from loopback only, and only while no key exists unless in `taskmill dev`."""
    return c.API_KEY_PREFIX + secrets.token_urlsafe(c.API_KEY_BYTES)


def needs(scope: Scope) -> dict[str, Any]:
    """Return the `opt` of a route that needs this scope; routes without one need `read` for GET, else `write`."""
    return {"scope": scope}


async def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """Litestar guard: runs before anything of the request is read."""
    await connection.app.state.guard(connection, handler)


class Guard:
    """Decides who passes, and sets `scope["user"]` to the Principal."""

    def __init__(self, keys: KeyService, dev_token: str | None, *, beside_keys: bool = False) -> None:
        self._keys = keys
        self._beside_keys = beside_keys
        self._dev_token = None if dev_token is None else dev_token.encode()

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let the request pass or raise AccessError UNAUTHORIZED or FORBIDDEN."""
        principal = await self._principal(connection)
        connection.scope["user"] = principal
        needed: Scope | None = handler.opt.get("scope")
        if needed is None:
            needed = Scope.READ if connection.scope.get("method") in {"GET", "HEAD", "OPTIONS"} else Scope.WRITE
        if not principal.may(needed):
            raise AccessError(Code.FORBIDDEN, permission=needed.value)

    async def _principal(self, connection: Connection) -> Principal:
        given = header(connection.scope, b"authorization")
        if given is None:
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.NO_KEY_GIVEN)
        if given[: len(BEARER)].lower() != BEARER:
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.NOT_BEARER)
        secret = given[len(BEARER) :].strip()
        if self._is_dev_token(secret):
            return await self._developer(connection)
        principal = await self._keys.authenticate(secret)
        if principal is None:
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.KEY_REFUSED)
        return principal

    def _is_dev_token(self, secret: str) -> bool:
        return self._dev_token is not None and hmac.compare_digest(secret.encode(), self._dev_token)

    async def _developer(self, connection: Connection) -> Principal:
        if not is_loopback(connection.scope.get("client")):
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.DEV_LOCAL_ONLY)
        if not self._beside_keys and await self._keys.any_exists():
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.KEYS_EXIST)
        return DEVELOPER


def is_loopback(client: tuple[str, int] | None) -> bool:
    """Say whether the peer of a connection is this machine."""
    if client is None:
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
