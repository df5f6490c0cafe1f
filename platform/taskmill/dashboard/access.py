"""Who may see a page: a session by cookie, its CSRF token with every change, and no change that another site sends."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler

from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard.visit import SESSION
from taskmill.errors import AccessError, Code
from taskmill.services.keys import Scope

Connection = ASGIConnection[Any, Any, Any, Any]
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITES = frozenset({"same-origin", "none"})  # none：地址栏、书签
UNASKED = b"taskmill-refresh"  # 页面自己来刷新，不算有人在用


async def signed_in(connection: Connection, handler: BaseRouteHandler) -> None:
    """Litestar guard: find the session, and let changes through only with its token and permission.

    AccessError UNAUTHORIZED, CSRF_INVALID or FORBIDDEN.
    """
    site = connection.app.state.dashboard
    token = connection.cookies.get(dc.COOKIE)
    used = connection.headers.get(UNASKED.decode()) is None and not handler.opt.get("unasked")
    session = await site.sessions.find(token, connection.scope.get("client"), used=used) if token else None
    if session is None:
        raise AccessError(Code.UNAUTHORIZED, reason=reasons.SESSION_OVER)
    connection.scope["user"] = session.principal
    connection.scope[SESSION] = session  # type: ignore[literal-required]
    if connection.scope.get("method") in SAFE:
        session.require(Scope.READ)
        return
    own_site(connection)
    if not session.knows(connection.headers.get("x-csrf-token")):
        raise AccessError(Code.CSRF_INVALID)
    needed: Scope | None = handler.opt.get("scope", Scope.WRITE)
    if needed is not None:
        session.require(needed)


def own_site(connection: Connection) -> None:
    """Raise AccessError CSRF_INVALID if the browser says that another site sent this."""
    if connection.headers.get("sec-fetch-site", "same-origin") not in OWN_SITES:
        raise AccessError(Code.CSRF_INVALID)


def cookie(request: Request[Any, Any, Any], name: str, value: str, *, max_age: int | None, hidden: bool = True) -> Cookie:
    """Return a cookie for the dashboard alone: without a Path it gets the folder that the browser sees, whatever proxies do.

    It must be set by an answer of `/dashboard/…` with one segment. Secure where the browser speaks TLS.
    """
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").split(",")[0].strip() == "https"
    return Cookie(key=name, value=value, path="", max_age=max_age, secure=secure, httponly=hidden, samesite="lax")
