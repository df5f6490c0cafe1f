"""The API description and its page, all served from here: no other host is contacted."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from litestar import Response, Router, get
from litestar.static_files import create_static_files_router

from taskmill.api import openapi
from taskmill.api.call import Call

STATIC = Path(str(files("taskmill.api") / "static"))
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
CACHED = "public, max-age=86400"


@get("/", include_in_schema=False)
async def page() -> Response[bytes]:
    """Return the page that shows the description."""
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
    return Response(_PAGE, media_type="text/html; charset=utf-8", headers=headers)


@get("/openapi.json", include_in_schema=False)
async def document(request: Call) -> Response[bytes]:
    """Return the OpenAPI 3.1 document."""
    state: Any = request.app.state
    if "openapi" not in state:
        state.openapi = msgspec.json.encode(openapi.document(request.app))
    return Response(state.openapi, media_type="application/vnd.oai.openapi+json")


_PAGE = (STATIC / "schema.html").read_bytes()
router = Router("/schema", route_handlers=[page, document])


def static_router() -> Router:
    """Return the router of the vendored files."""
    return create_static_files_router(
        "/schema/static", directories=[STATIC], include_in_schema=False, name="schema-static", cache_control=None
    )
