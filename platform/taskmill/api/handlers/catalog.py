"""Kinds of tasks and plugins."""

from __future__ import annotations

from litestar import Router, get

from taskmill.api import body
from taskmill.api.call import Call, KindName, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.errors import Code
from taskmill.plugin.info import PluginInfo
from taskmill.services.catalog import CatalogService, KindDetail, KindSummary
from taskmill.services.page import Page, Paging


@get("/kinds", operation_id="listKinds", summary="List kinds of tasks", opt={"query": Paging})
async def kinds(request: Call) -> Envelope[Page[KindSummary]]:
    """Return the kinds that any process has registered, by name."""
    return ok(request, await _service(request).kinds(body.read_query(request, Paging)))


@get(
    "/kinds/{kind:str}",
    operation_id="getKind",
    summary="Get one kind with its schemas",
    opt={"errors": (Code.KIND_NOT_REGISTERED,)},
)
async def kind_detail(request: Call, kind: KindName) -> Envelope[KindDetail]:
    """Return the defaults of a kind and the JSON Schemas of its args and result."""
    return ok(request, await _service(request).kind(body.name(kind, "kind")))


@get("/plugins", operation_id="listPlugins", summary="List plugins", opt={"query": Paging})
async def plugins(request: Call) -> Envelope[Page[PluginInfo]]:
    """Return the plugins that this process found, loaded or not, and why not."""
    return ok(request, _service(request).plugins(body.read_query(request, Paging)))


def _service(request: Call) -> CatalogService:
    platform = platform_of(request)
    return CatalogService(platform.database, platform.host)


router = Router(
    "/", route_handlers=[kinds, kind_detail, plugins], tags=["catalog"], opt={"about": "Kinds of tasks and plugins"}
)
