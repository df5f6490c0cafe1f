"""What a handler knows of its visitor: the site, the session, the language, and the way back to the root of the dashboard."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

from litestar import Request
from litestar.datastructures import State

from taskmill import constants as c
from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard.shared import Site
from taskmill.errors import Code, InputError
from taskmill.services.dashboard.sessions import Session
from taskmill.services.keys import Principal
from taskmill.services.platform import Platform

Visit = Request[Principal, Any, State]
SESSION = "taskmill.dashboard.session"  # 守卫写入 ASGI scope
BASE = "taskmill-base"
_BASE = re.compile(r"\./|(?:\.\./){1,4}")
LANGUAGES = ("zh", "en")
THEMES = ("auto", "light", "dark")
_NUMBER_DIGITS = 6


def site_of(request: Request[Any, Any, Any]) -> Site:
    """Return what all pages share."""
    site: Site = request.app.state.dashboard
    return site


def platform_of(request: Visit) -> Platform:
    """Return the services of this process."""
    return site_of(request).platform


def session_of(request: Request[Any, Any, Any]) -> Session | None:
    """Return the session that the guard found, None where none is needed."""
    found: Session | None = request.scope.get(SESSION)  # type: ignore[assignment] # 键是我们自己的
    return found


def caller(request: Visit) -> str:
    """Return who acts, for `paused_by` and `created_by`."""
    return request.scope["user"].name


def asks_itself(request: Request[Any, Any, Any]) -> bool:
    """Say whether htmx asks, for the page without its frame."""
    return request.headers.get("hx-request") == "true"


def language(request: Request[Any, Any, Any]) -> str:
    """Return `zh` or `en`: as chosen, else the one that the browser names first."""
    chosen = request.cookies.get(dc.LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return chosen
    for part in request.headers.get("accept-language", "").split(","):
        if (name := part.strip()[:2].lower()) in LANGUAGES:
            return name
    return "zh"


def theme(request: Request[Any, Any, Any]) -> str:
    """Return `light`, `dark`, or `auto`: as the system has it."""
    chosen = request.cookies.get(dc.THEME_COOKIE)
    return chosen if chosen in THEMES else "auto"


def up(request: Request[Any, Any, Any]) -> str:
    """Return the way from this page to the root: links are relative, so that any base path works.

    What an action answers is put into the page that asked, so that page says where it is.
    """
    asking = request.headers.get(BASE)
    if asking is not None and _BASE.fullmatch(asking):
        return asking
    return "../" * (address(request).count("/") - dc.ROOT.count("/") - 1) or "./"


def address(request: Request[Any, Any, Any]) -> str:
    """Return the path as it was asked for, escapes and the last slash included: Litestar's own has neither."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


def link(base: str, *parts: str, **query: str | None) -> str:
    """Return a relative address below the root; names are escaped, empty parameters left out."""
    path = "/".join(quote(part, safe="") for part in parts)
    given = {name: value for name, value in query.items() if value}
    return base + path + (f"?{urlencode(given)}" if given else "")


def page_number(request: Visit) -> int:
    """Return `?page=`, 1 without it; InputError INVALID_REQUEST."""
    given = request.query_params.get("page", "1")
    if not (given.isascii() and given.isdecimal() and len(given) <= _NUMBER_DIGITS and int(given)):
        reason = reasons.WITHIN(low=1, high=c.TOTAL_EXACT_MAX)
        raise InputError(Code.INVALID_REQUEST, field="page", reason=reason)
    return int(given)
