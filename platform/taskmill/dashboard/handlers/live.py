"""The event stream, and the static files."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

from litestar import Response, get
from litestar.response import Stream

from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard.shared import Site
from taskmill.dashboard.visit import Visit, session_of, site_of
from taskmill.errors import Code, NotFoundError, UnavailableError
from taskmill.services.access import Client

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # 代理不要攒着
CACHED = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",  # 共享的 worker 按它自己的策略去连事件流
}


@get("/events", opt={"unasked": True})
async def events(request: Visit) -> Response[Any]:
    """Stream which topics changed; ends with the session, and when the process stops."""
    site, session = site_of(request), session_of(request)
    owner = None if session is None else session.id
    for count, limit in ((site.pulse.watchers(), dc.STREAMS_MAX), (site.pulse.watchers(owner), dc.STREAMS_OF_ONE)):
        if count >= limit:
            raise UnavailableError(Code.SERVER_BUSY, what=reasons.STREAMS, limit=limit)
    token = request.cookies.get(dc.COOKIE, "")
    return Stream(_told(site, owner, token, request.scope.get("client")), media_type="text/event-stream", headers=HEADERS)


async def _told(site: Site, owner: UUID | None, token: str, client: Client) -> AsyncIterator[bytes]:
    yield f"retry: {dc.RETRY_MS}\n\n".encode()
    # 同时来的都过了前面的检查：登记之前再数一次，中间没有 await
    if site.pulse.watchers() >= dc.STREAMS_MAX or site.pulse.watchers(owner) >= dc.STREAMS_OF_ONE:
        return
    with site.pulse.watching(owner) as watcher:
        asked = time.monotonic()
        while not site.pulse.closed:
            topics = await watcher.next(dc.HEARTBEAT_S)
            if site.pulse.closed:
                return
            # 消息不断时也要问：退出了、吊销了的，不再听
            if not topics or time.monotonic() - asked >= dc.HEARTBEAT_S:
                asked = time.monotonic()
                if await site.sessions.find(token, client, used=False) is None:
                    return
            yield f"data: {' '.join(sorted(topics))}\n\n".encode() if topics else b": \n\n"


@get("/static/{name:path}")
async def static(request: Visit, name: Path) -> Response[Any]:
    """Serve a file of the package; browsers keep it, the hash in its address changes with it."""
    found = site_of(request).assets.get(name.as_posix().lstrip("/"))
    if found is None:
        raise NotFoundError(Code.ROUTE_NOT_FOUND, path=request.scope["path"])
    packed = "gzip" in request.headers.get("accept-encoding", "")
    # 滚动升级时，新页面会向旧进程要新文件：给的是旧的，就不能让浏览器当新的留着
    kept = CACHED if request.query_params.get("v") == found.version else CACHED | {"Cache-Control": "no-store"}
    headers = kept | ({"Content-Encoding": "gzip"} if packed else {})
    return Response(found.packed if packed else found.body, media_type=found.media_type, headers=headers)
