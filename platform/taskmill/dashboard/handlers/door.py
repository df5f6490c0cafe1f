"""In and out: log-in with a key or by a link, log-out, language and theme."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from litestar import Response, get, post
from litestar.status_codes import HTTP_200_OK, HTTP_303_SEE_OTHER

from taskmill.dashboard import constants as dc
from taskmill.dashboard import forms
from taskmill.dashboard.access import cookie, own_site
from taskmill.dashboard.pages import page
from taskmill.dashboard.visit import LANGUAGES, THEMES, Visit, site_of
from taskmill.errors import AccessError, Code, TaskmillError
from taskmill.services.keys import Principal, Scope


@get("/login")
async def form(request: Visit) -> Response[Any]:
    """Show the log-in, or log in by a one-time link."""
    token = request.query_params.get("token")
    if token is None:
        return page(request, "login.html", error=None, next=_next(request.query_params.get("next", "")))
    try:
        holder = await site_of(request).by_link(token, request.scope.get("client"))
    except AccessError as error:
        return page(request, "login.html", error.spec.status, error=error, next="")
    return await _entered(request, holder, "")


@post("/login", status_code=HTTP_200_OK)
async def login(request: Visit) -> Response[Any]:
    """Open a session for who holds the key."""
    own_site(request)
    site, client = site_of(request), request.scope.get("client")
    given = await forms.read(request)
    back = _next(forms.one(given, "next"))
    address = client[0] if client else ""
    try:
        holder = await site.access.principal(forms.one(given, "api_key").strip(), client)
        if not holder.may(Scope.READ):
            raise AccessError(Code.FORBIDDEN, permission=Scope.READ.value)
    except TaskmillError as refused:
        error: TaskmillError = refused
        if error.code is Code.UNAUTHORIZED:
            error = site.throttle.failed(address) or error
        elif error.spec.status >= HTTP_SERVER_ERROR:
            raise
        return page(request, "login.html", error.spec.status, error=error, next=back)
    return await _entered(request, holder, back)


HTTP_SERVER_ERROR = 500


async def _entered(request: Visit, holder: Principal, back: str) -> Response[Any]:
    site = site_of(request)
    request.scope["user"] = holder
    token = await site.sessions.open(holder, request.headers.get("user-agent"))
    if before := request.cookies.get(dc.COOKIE):
        await site.sessions.close(before)  # 同一个浏览器换了会话：旧的不留
    life = int(site.platform.settings.dashboard_session_s)
    return _go(f"./{back}", [cookie(request, dc.COOKIE, token, max_age=life)])


@post("/logout", status_code=HTTP_200_OK, opt={"scope": None})
async def logout(request: Visit) -> Response[Any]:
    """End the session; the page then loads anew and asks for a key."""
    token = request.cookies.get(dc.COOKIE)
    if token:
        await site_of(request).sessions.close(token)
    answer: Response[Any] = Response(b"", headers={"HX-Refresh": "true", "Clear-Site-Data": '"cache"'})
    answer.set_cookie(cookie(request, dc.COOKIE, "", max_age=0))
    return answer


@post("/preferences", status_code=HTTP_200_OK)
async def preferences(request: Visit) -> Response[Any]:
    """Remember language or theme in this browser, and go back."""
    own_site(request)
    given = await forms.read(request)
    cookies = [
        cookie(request, name, value, max_age=dc.PREFERENCE_S, hidden=False)
        for name, field, allowed in ((dc.LANGUAGE_COOKIE, "lang", LANGUAGES), (dc.THEME_COOKIE, "theme", THEMES))
        if (value := forms.one(given, field)) in allowed
    ]
    return _go(f"./{_next(forms.one(given, 'next'))}", cookies)


def _go(place: str, cookies: list[Any]) -> Response[Any]:
    answer: Response[Any] = Response(
        None, status_code=HTTP_303_SEE_OTHER, headers={"Location": place, "Cache-Control": "no-store"}
    )
    for each in cookies:
        answer.set_cookie(each)
    return answer


def _next(given: str) -> str:
    """只回到自己的页面：相对的地址，第一段是普通的字，哪里都不能越过。"""
    path = given.partition("?")[0]
    safe = path[:1].isalpha() and path.isascii() and path.isprintable() and not {"\\", ":"} & set(path)
    inside = ".." not in unquote(path).split("/") and "//" not in path  # 浏览器把 %2e 也当点
    whole = given.isascii() and given.isprintable() and len(given) <= dc.NEXT_MAX_CHARS
    return given if safe and inside and whole else ""
