"""The API description and its page, all served from here: no other host is contacted."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.static_files import create_static_files_router
from litestar.status_codes import HTTP_404_NOT_FOUND

from taskmill import __version__
from taskmill.api import openapi
from taskmill.api.response_headers import STATIC_PATH

STATIC = Path(str(files("taskmill.api") / "static"))
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
    ),
}
# 随包的文件在构建时就定了：别的名字不去问文件系统，NUL、过长的名字都只是没有
FILES = frozenset(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
AnyRequest = Request[Any, Any, Any]


class Document(OpenAPIRenderPlugin):
    """`/schema/openapi.json`: built once, then served as bytes."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type="application/vnd.oai.openapi+json")  # type: ignore[arg-type]
        self._built: bytes | None = None

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:
        """Return the OpenAPI 3.1 document."""
        if self._built is None:
            self._built = msgspec.json.encode(openapi.complete(request.app, openapi_schema))
        return self._built


class Page(OpenAPIRenderPlugin):
    """`/schema`: the page that shows the document."""

    def __init__(self) -> None:
        super().__init__(path="/")
        self._page = (STATIC / "schema.html").read_bytes()

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002 - Litestar 的约定
        """Return the page; it asks for the document and the vendored files by itself."""
        return self._page


async def enveloped(response: Response[Any]) -> Response[Any]:
    """Replace Litestar's own HTML page for unknown paths: every error is an envelope."""
    if response.status_code == HTTP_404_NOT_FOUND:
        raise NotFoundException
    return response


def config() -> OpenAPIConfig:
    """Return the configuration of the description and of its routes."""
    router = Router("/schema", route_handlers=[], include_in_schema=False, response_headers=HEADERS, after_request=enveloped)
    return OpenAPIConfig(
        title="Taskmill",
        version=__version__,
        use_handler_docstrings=True,
        openapi_router=router,
        render_plugins=[Page(), Document()],
    )


async def _known(request: AnyRequest) -> Response[Any] | None:
    if str(request.path_params.get("file_path", "")).lstrip("/") not in FILES:
        raise NotFoundException
    return None


def static_router() -> Router:
    """Return the router of the vendored files."""
    return create_static_files_router(
        STATIC_PATH, directories=[STATIC], include_in_schema=False, name="schema-static", before_request=_known
    )
