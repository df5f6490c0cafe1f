"""What goes wrong on a page, as a page: code, words in the reader's language, what to do, and the number of the request."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException
from litestar.status_codes import HTTP_303_SEE_OTHER

from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard.pages import HEADERS, HTML, render
from taskmill.dashboard.visit import address, asks_itself, session_of, up
from taskmill.errors import Code, InputError, NotFoundError, TaskmillError
from taskmill.log import get_logger
from taskmill.services.faults import translate, why
from taskmill.words import Words

log = get_logger(__name__, {"页面出错": "a page failed", "页面未能给出": "a page could not be given"})
AnyRequest = Request[Any, Any, Any]
SERVER_ERROR = 500
RETRY_LATER = frozenset({429, 503})


def on_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Answer any exception; who has no session is sent to the log-in and back."""
    coded = _coded(request, error)
    if (
        coded.code is Code.UNAUTHORIZED
        and session_of(request) is None
        and request.method == "GET"
        and not asks_itself(request)
    ):
        return _to_login(request)
    headers = HEADERS | {"Cache-Control": "no-store"}
    if coded.spec.status in RETRY_LATER:
        headers["Retry-After"] = str(coded.details.get("seconds", 1))
    template = "failure_notice.html" if asks_itself(request) else "failure.html"
    body = render(request, template, error=coded, number=request.scope.get("taskmill.request_id", ""))
    return Response(body, status_code=coded.spec.status, media_type=HTML, headers=headers)


def _coded(request: AnyRequest, error: Exception) -> TaskmillError:
    if isinstance(error, NotFoundException):
        return NotFoundError(Code.ROUTE_NOT_FOUND, path=request.scope["path"])
    if isinstance(error, HTTPException) and error.status_code < SERVER_ERROR:
        return InputError(Code.INVALID_REQUEST, field="request", reason=Words(zh=error.detail, en=error.detail))
    coded = translate(error)
    if coded is None:
        log.error("页面出错", method=request.method, path=request.scope["path"], exc_info=error)
        return TaskmillError(Code.INTERNAL)
    if coded.spec.status >= SERVER_ERROR:
        log.warning("页面未能给出", method=request.method, path=request.scope["path"], code=coded.code, error=why(coded))
    return coded


def _to_login(request: AnyRequest) -> Response[Any]:
    """登录之后回到这一页；概览不必带上。"""
    base, asked = up(request), address(request)
    if not asked.startswith(f"{dc.ROOT}/"):
        base = f"{dc.ROOT.removeprefix('/')}/"  # 没有最后那一道斜线：相对的地址从上一层算起
    wanted = asked.removeprefix(f"{dc.ROOT}/") if asked.startswith(f"{dc.ROOT}/") else ""
    query = request.scope.get("query_string", b"").decode("latin-1")
    back = f"{wanted}?{query}" if query and wanted else wanted
    target = f"{base}login" + (f"?next={quote(back, safe='')}" if back else "")
    return Response(None, status_code=HTTP_303_SEE_OTHER, headers={"Location": target, "Cache-Control": "no-store"})


def missing() -> InputError:
    """Return the error of a form that lacks what it must have."""
    return InputError(Code.INVALID_REQUEST, field="form", reason=reasons.NO_VALUE)
