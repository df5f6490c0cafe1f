"""A platform on the test's own servers, with a few kinds of tasks that need no plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.plugin.definition import task
from taskmill.plugin.executors import register_builtin
from taskmill.plugin.host import PluginHost
from taskmill.plugin.registry import Registry
from taskmill.services.catalog import CatalogService
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleService
from taskmill.settings import Settings

PLUGIN = "demo"


@task("demo.echo")
async def echo(text: str = "") -> str:
    """Return what it was given."""
    return text


@task("demo.add", queue="sums", priority=1, timeout=5)
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def registry() -> Registry:
    """Return a registry in which the plugin `demo` has registered its kinds."""
    made = Registry()
    register_builtin(made)
    made.bound(PLUGIN, "1.0.0")
    made.add(echo, add)
    return made


@asynccontextmanager
async def opened(
    database_url: str, broker_url: str, *, plugins: Registry | None = None, clock: Clock = SYSTEM_CLOCK, **settings: Any
) -> AsyncIterator[Platform]:
    """Open a platform and close it at the end; the kinds of `plugins` (default: `registry()`) are published."""
    configured = Settings(database_url=database_url, broker_url=broker_url, **settings)  # pyright: ignore[reportArgumentType]
    platform = await Platform.open(configured, PluginHost(registry=plugins or registry()), clock=clock)
    try:
        yield platform
    finally:
        await platform.close()


def schedules(platform: Platform) -> ScheduleService:
    """Return the service of schedules."""
    return ScheduleService(platform.database, platform.submit)


def catalog(platform: Platform) -> CatalogService:
    """Return the service of kinds and plugins."""
    return CatalogService(platform.database, platform.host)
