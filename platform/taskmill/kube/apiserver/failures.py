"""What a request to the Kubernetes API may end in, by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """A request failed: which verb on which object, the HTTP status (0: no answer), and the server's words."""

    def __init__(self, verb: str, target: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{verb} {target}: {status} {reason}: {message}")
        self.verb = verb
        self.target = target
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s: float | None = None


class TransientError(KubeError):
    """Repeat later: the server is away, busy, or answers late; `retry_after_s` if it said when."""


class ConflictError(KubeError):
    """The object has changed meanwhile, or another field manager owns the fields in `fields`."""

    fields: tuple[str, ...] = ()


class ExistsError(KubeError):
    """An object of this name exists already."""


class NameTakenError(KubeError):
    """An object of this name exists already and belongs to somebody else."""


class ForbiddenError(KubeError):
    """A right is missing, or a quota is used up. A server that has just started answers so for a moment, too."""


class InvalidError(KubeError):
    """The object is wrong and stays wrong until somebody edits it."""


class NotFoundError(KubeError):
    """The object or its kind is not there."""


class GoneError(KubeError):
    """The resource version is too old: list again."""


_BY_STATUS: dict[int, type[KubeError]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    405: InvalidError,
    410: GoneError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
}


def failure(verb: str, target: str, status: int, body: Mapping[str, Any], *, applying: bool = False) -> KubeError:
    """Return the error of an answer; `applying`: the request was a server-side apply."""
    reason = str(body.get("reason") or "")
    message = str(body.get("message") or "")[:1000]
    details: Mapping[str, Any] = body.get("details") or {}
    if status == 409:  # noqa: PLR2004 - HTTP
        if reason == "AlreadyExists":
            return ExistsError(verb, target, status, reason, message)
        conflict = ConflictError(verb, target, status, reason, message)
        causes = details.get("causes") or ()
        conflict.fields = tuple(str(each.get("field")) for each in causes if each.get("reason") == "FieldManagerConflict")
        return conflict
    known = _BY_STATUS.get(status)
    # 服务端应用的字段与模式不符时，答复是没有 reason 的 500：改正之前重试多少次都一样
    if known is None and applying and status == 500 and not reason:  # noqa: PLR2004 - HTTP
        known = InvalidError
    if known is not None:
        return known(verb, target, status, reason, message)
    error = TransientError(verb, target, status, reason, message)
    seconds = details.get("retryAfterSeconds")
    error.retry_after_s = float(seconds) if seconds else None
    return error
