"""工作进程, 插件, 系统: who works, what is installed, how the parts are."""

from __future__ import annotations

from typing import Any

from litestar import Response, get

from taskmill.dashboard import constants as dc
from taskmill.dashboard.pages import page
from taskmill.dashboard.visit import Visit, page_number, platform_of, site_of
from taskmill.services.page import Paging


@get("/workers")
async def workers(request: Visit) -> Response[Any]:
    """Show worker processes, the living first."""
    found = await platform_of(request).workers.list(Paging(page=page_number(request), page_size=dc.PAGE_SIZE))
    return page(request, "workers.html", found=found)


@get("/plugins")
async def plugins(request: Visit) -> Response[Any]:
    """Show plugins, loaded or not and why not, and the kinds that any process has registered."""
    catalog = site_of(request).catalog
    found = catalog.plugins(Paging(page_size=dc.PLUGINS_MAX))
    kinds = await catalog.kinds(Paging(page=page_number(request), page_size=dc.PAGE_SIZE))
    return page(request, "plugins.html", plugins=found.items, kinds=kinds)


@get("/system")
async def system(request: Visit) -> Response[Any]:
    """Show each dependency with its latency, migrations, schedulers and versions; all of it as text for a bug report."""
    platform = platform_of(request)
    report, error = await platform.health.readiness()
    return page(request, "system.html", report=report, error=error, settings=platform.settings)
