"""Who may call: the guard of every route, which asks `services/access.py` who holds the key."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from taskmill import reasons
from taskmill.api.call import header
from taskmill.errors import AccessError, Code
from taskmill.services.access import Access
from taskmill.services.keys import Principal, Scope

Connection = ASGIConnection[Any, Any, Any, Any]
BEARER = "bearer "


def needs(scope: Scope) -> dict[str, Any]:
    """Return the `opt` of a route that needs this scope; routes without one need `read` for GET, else `write`."""
    return {"scope": scope}


async def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """Litestar guard: runs before anything of the request is read."""
    await connection.app.state.guard(connection, handler)


class Guard:
    """Decides who passes, and sets `scope["user"]` to the Principal."""

    def __init__(self, access: Access) -> None:
        self._access = access

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
        return await self._access.principal(given[len(BEARER) :].strip(), connection.scope.get("client"))
