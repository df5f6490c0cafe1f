"""A page as an answer: with its frame, or without when it asks for itself; 304 if nothing changed."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_304_NOT_MODIFIED

from taskmill import __version__
from taskmill.dashboard.rendering import Speaker
from taskmill.dashboard.visit import Visit, address, asks_itself, language, link, session_of, site_of, theme, up
from taskmill.services.keys import Scope

HTML = "text/html"
HEADERS = {
    # 自己的文件之外什么都不载入；行内的脚本与样式一概不许
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cache-Control": "private, no-cache",
    "Vary": "Cookie, HX-Request, Accept-Language",
    "X-Frame-Options": "DENY",
}


def render(request: Visit, template: str, **facts: Any) -> str:
    """Return a template as text, with what every template may use."""
    base, session = up(request), session_of(request)
    given = {
        "t": Speaker(language(request)),
        "base": base,
        "link": partial(link, base),
        "bare": asks_itself(request),
        "theme": theme(request),
        "session": session,
        "may_write": session is not None and session.may(Scope.WRITE),
        "version": __version__,
        "here": address(request),
        "extensions": site_of(request).panels.added(),
    }
    return site_of(request).templates.get_template(template).render(given | facts)


def page(request: Visit, template: str, status: int = HTTP_200_OK, **facts: Any) -> Response[bytes]:
    """Answer with a page."""
    body = render(request, template, **facts).encode("utf-8", "replace")
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = HEADERS | {"ETag": tag}
    if status == HTTP_200_OK and request.headers.get("if-none-match") == tag:
        return Response(b"", status_code=HTTP_304_NOT_MODIFIED, media_type=HTML, headers=headers)
    return Response(body, status_code=status, media_type=HTML, headers=headers)


def notice(request: Visit, template: str = "notice.html", status: int = HTTP_200_OK, **facts: Any) -> Response[bytes]:
    """Answer an action with what became of it; the page then asks for itself."""
    site_of(request).overview.forget()
    headers = HEADERS | {"Cache-Control": "no-store", "HX-Trigger": "changed"}
    body = render(request, template, **facts).encode("utf-8", "replace")
    return Response(body, status_code=status, media_type=HTML, headers=headers)
