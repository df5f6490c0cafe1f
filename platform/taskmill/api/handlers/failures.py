"""Failures by fingerprint."""

from __future__ import annotations

from litestar import Router, get

from taskmill.api import body
from taskmill.api.call import Call, Fingerprint, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.errors import Code
from taskmill.services.failures import FailureDetail, FailureFilter, FailureGroup, FailureService
from taskmill.services.page import Page

GROUP = {
    "fingerprint": "3f6f0c5a1b2d4e88",
    "kind": "mail.send",
    "error_type": "ConnectionRefusedError",
    "message": "[Errno <n>] Connect call failed (<text>, <n>)",
    "frame": "shop/mails.py send",
    "queues": ["mail"],
    "n": 1284,
    "first_at": "2026-11-29T20:10:03.120Z",
    "last_at": "2026-11-29T20:29:58.902Z",
    "other": False,
}
PAGE = {
    "items": [GROUP],
    "page": None,
    "page_size": 20,
    "total": None,
    "total_capped": False,
    "next_cursor": "1796070598902000-3f6f0c5a1b2d4e88",
}


@get(
    "/failures",
    operation_id="listFailures",
    summary="List failures by fingerprint",
    opt={"query": FailureFilter, "example": PAGE},
)
async def failures(request: Call) -> Envelope[Page[FailureGroup]]:
    """Return groups of attempts that failed in the same way, what failed last first; nothing is counted but the groups themselves."""
    wanted = body.read_query(request, FailureFilter)
    return ok(request, await FailureService(platform_of(request).database).list(wanted))


@get(
    "/failures/{fingerprint:str}",
    operation_id="getFailure",
    summary="Get one group of failures",
    opt={"errors": (Code.FAILURE_NOT_FOUND,), "example": {**GROUP, "tasks": []}},
)
async def failure(request: Call, fingerprint: Fingerprint) -> Envelope[FailureDetail]:
    """Return one group with the newest tasks that failed so."""
    found = await FailureService(platform_of(request).database).get(body.name(fingerprint, "fingerprint"))
    return ok(request, found)


router = Router("/", route_handlers=[failures, failure], tags=["failures"], opt={"about": "What failed, grouped by how"})
