"""The pages that plugins add: panels of rows, drawn here."""

from __future__ import annotations

from typing import Any

from litestar import Response, get

from taskmill.dashboard.pages import page
from taskmill.dashboard.visit import Visit, site_of


@get("/plugin/{plugin:str}/{name:str}")
async def plugin_page(request: Visit, plugin: str, name: str) -> Response[Any]:
    """Show a page of a plugin; a panel that raises or is slow says so in its place."""
    found, panels = await site_of(request).panels.page(plugin, name)
    return page(request, "plugin_page.html", found=found, plugin=plugin, panels=panels)
