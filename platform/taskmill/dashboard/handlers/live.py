"""The event stream, and the static files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar import Response, get
from litestar.response import Stream

from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard.site import Site
from taskmill.dashboard.visit import Visit, site_of
from taskmill.errors import Code, NotFoundError, UnavailableError
from taskmill.services.access import Client

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # 代理不要攒着
CACHED = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


@get("/events", opt={"unasked": True})
async def events(visit: Visit) -> Response[Any]:
    """Stream which topics changed; ends with the session, and when the process stops."""
    site = site_of(visit)
    if site.pulse.watchers >= dc.STREAMS_MAX:
        raise UnavailableError(Code.SERVER_BUSY, what=reasons.STREAMS, limit=dc.STREAMS_MAX)
    token = visit.cookies.get(dc.COOKIE, "")
    return Stream(_told(site, token, visit.scope.get("client")), media_type="text/event-stream", headers=HEADERS)


async def _told(site: Site, token: str, client: Client) -> AsyncIterator[bytes]:
    yield f"retry: {dc.RETRY_MS}\n\n".encode()
    with site.pulse.watching() as watcher:
        while not site.pulse.closed:
            topics = await watcher.next(dc.HEARTBEAT_S)
            if site.pulse.closed:
                return
            if topics:
                yield f"data: {' '.join(sorted(topics))}\n\n".encode()
                continue
            if await site.sessions.find(token, client, used=False) is None:
                return
            yield b": \n\n"


@get("/static/{name:path}")
async def static(visit: Visit, name: str) -> Response[Any]:
    """Serve a file of the package; browsers keep it, the hash in its address changes with it."""
    found = site_of(visit).assets.get(str(name).lstrip("/"))
    if found is None:
        raise NotFoundError(Code.ROUTE_NOT_FOUND, path=visit.scope["path"])
    packed = "gzip" in visit.headers.get("accept-encoding", "")
    headers = CACHED | ({"Content-Encoding": "gzip"} if packed else {})
    return Response(found.packed if packed else found.body, media_type=found.media_type, headers=headers)
