"""The whole plugin contract on one page. A plugin implements what it needs and takes only the arguments it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    import click

    from taskmill.plugin.dashboard.parts import Dashboard
    from taskmill.plugin.manifest import Health, Manifest
    from taskmill.plugin.registry import Registry

PROJECT = "taskmill"
HOOKSPEC_API: Final = "1.1"  # 这一页的版本：插件的 requires_api 与它比
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def taskmill_manifest() -> Manifest:  # pyright: ignore[reportReturnType]
    """Return who the plugin is, which contract it needs and its config type. Setup; required."""


@hookspec
def taskmill_register(registry: Registry, config: Any) -> None:
    """Add tasks, executors and schedules to the registry. Setup."""


@hookspec
def taskmill_middlewares(config: Any) -> list[Any]:  # pyright: ignore[reportReturnType]
    """Return taskiq middlewares for the worker. Setup."""


@hookspec
def taskmill_migrations() -> Path:  # pyright: ignore[reportReturnType]
    """Return the folder of the plugin's own alembic versions. Setup."""


@hookspec
def taskmill_routes(config: Any) -> list[Any]:  # pyright: ignore[reportReturnType]
    """Return Litestar routers, mounted under `/plugins/<name>` behind the same authentication. Setup."""


@hookspec
def taskmill_dashboard(config: Any) -> Dashboard:  # pyright: ignore[reportReturnType]
    """Return pages and panels for the dashboard. Setup; their functions are called within a time budget when somebody looks."""


@hookspec
def taskmill_cli(group: click.Group) -> None:
    """Add commands to `taskmill <name>`. Setup."""


@hookspec
async def taskmill_health(config: Any) -> Health:  # pyright: ignore[reportReturnType]
    """Check what the plugin depends on, for readiness and `taskmill doctor`. Runtime, within a time budget."""
