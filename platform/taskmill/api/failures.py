"""Whatever goes wrong in a request becomes an envelope with a code."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from taskmill import constants as c
from taskmill import reasons
from taskmill.api import constants as ac
from taskmill.api import redact
from taskmill.api.envelope import failed
from taskmill.errors import AccessError, Code, InputError, LimitError, NotFoundError, TaskmillError
from taskmill.log import get_logger
from taskmill.services.faults import translate, why
from taskmill.text.validation import in_both

log = get_logger(__name__)
AnyRequest = Request[Any, Any, Any]
SERVER_ERROR = 500


def on_error(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer any exception: coded ones by the table, drivers' by what they mean, all others as INTERNAL."""
    coded = translate(error) or _unreadable(request, error)
    if coded is None:
        log.error("请求处理出错", method=request.method, path=redact.path(request.url.path), exc_info=error)
        coded = TaskmillError(Code.INTERNAL)
    elif coded.spec.status >= SERVER_ERROR:
        path = redact.path(request.url.path)
        log.warning("请求未能完成", method=request.method, path=path, code=coded.code, error=why(coded))
    headers = {"WWW-Authenticate": "Bearer"} if coded.code is Code.UNAUTHORIZED else None
    return failed(coded, request.scope, headers)


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Answer what Litestar itself refuses: routes, methods, bodies and parameters (of plugins' routes too)."""
    if error.status_code >= SERVER_ERROR:
        return on_error(request, error)
    return failed(_coded(request, error), request.scope, dict(error.headers or {}))


def _unreadable(request: AnyRequest, error: Exception) -> TaskmillError | None:
    """插件的路由由 Litestar 解码正文：坏的 UTF-8 与过深的嵌套会以裸异常出来。"""
    if not request.url.path.startswith(ac.PLUGINS_PREFIX):
        return None
    if isinstance(error, UnicodeDecodeError):
        return InputError(Code.MALFORMED_JSON, reason=reasons.NOT_UTF8(error=error.reason))
    if isinstance(error, RecursionError):
        return InputError(Code.ARGS_TOO_DEEP, field="body", limit=c.ARGS_MAX_DEPTH)
    return None


def _coded(request: AnyRequest, error: HTTPException) -> TaskmillError:
    path = request.url.path
    if isinstance(error, NotFoundException):
        return NotFoundError(Code.ROUTE_NOT_FOUND, path=path)
    if isinstance(error, MethodNotAllowedException):
        return InputError(Code.METHOD_NOT_ALLOWED, path=path, method=request.method)
    if error.status_code == HTTP_413_REQUEST_ENTITY_TOO_LARGE:
        return LimitError(Code.BODY_TOO_LARGE, limit=request.app.state.platform.settings.body_max_bytes)
    by_status = {
        401: AccessError(Code.UNAUTHORIZED, reason=error.detail),
        403: AccessError(Code.FORBIDDEN, permission=error.detail),
        415: InputError(Code.UNSUPPORTED_MEDIA_TYPE, content_type=request.headers.get("content-type", "")),
    }
    return by_status.get(error.status_code) or _wrong_input(error)


def _wrong_input(error: HTTPException) -> TaskmillError:
    if isinstance(error.__cause__, SerializationException):
        return InputError(Code.MALFORMED_JSON, reason=in_both(error.detail))
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        first: Any = error.extra[0]
        if isinstance(first, dict):
            facts: dict[str, Any] = first
            field, reason = facts.get("key", "request"), facts.get("message", error.detail)
            return InputError(Code.INVALID_REQUEST, field=str(field), reason=in_both(str(reason)))
    return InputError(Code.INVALID_REQUEST, field="request", reason=in_both(error.detail))
