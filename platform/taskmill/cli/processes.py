"""What the commands that stay up have in common: settings and logs, a platform on a database that fits, the second signal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from taskmill.log import configure_logging, get_logger
from taskmill.settings import Settings, load_settings
from taskmill.urls import address

if TYPE_CHECKING:
    from taskmill.services.platform import Platform

log = get_logger(__name__)


def configured(**overrides: object) -> Settings:
    """Return the settings with what the command line says over them, and set up the logs; SetupError CONFIG_INVALID."""
    settings = load_settings(**{name: value for name, value in overrides.items() if value not in (None, [])})
    configure_logging(**settings.logging())
    return settings


@asynccontextmanager
async def opened(settings: Settings, role: str, stop: asyncio.Event) -> AsyncIterator[Platform]:
    """Give a platform on a database whose schema fits: SetupError SCHEMA_BEHIND or SCHEMA_AHEAD if it does not.

    Waits for PostgreSQL as long as the settings say, or until `stop` is set: then UnavailableError DATABASE_UNAVAILABLE.
    """
    from taskmill.plugin.host import PluginHost
    from taskmill.services.platform import Platform
    from taskmill.services.plugin_stock import take_stock
    from taskmill.services.schema import verify
    from taskmill.services.startup import patiently

    url, broker = settings.require_urls()
    log.info("启动", role=role, pid=os.getpid(), database=address(url), broker=address(broker), changed=_changed(settings))
    await patiently(lambda: verify(url), settings.database_wait_s, stop)
    host = PluginHost.load(settings)
    if role == "worker":
        await patiently(lambda: take_stock(url, host, starting=True), settings.database_wait_s, stop)
    platform = await patiently(lambda: Platform.open(settings, host), settings.database_wait_s, stop)
    try:
        yield platform
    finally:
        await platform.close()
        log.info("已停止", role=role)


def _changed(settings: Settings) -> dict[str, object]:
    """与默认值不同的设置；两个带密码的地址另记。"""
    values = settings.model_dump(mode="json", exclude={"database_url", "broker_url"}, exclude_defaults=True)
    return dict(sorted(values.items()))


async def first_of(work: Awaitable[object], now: asyncio.Event) -> None:
    """Await `work`, but no longer than until `now` is set: then it is cancelled."""
    working, cut = asyncio.ensure_future(work), asyncio.ensure_future(now.wait())
    try:
        await asyncio.wait({working, cut}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for each in (working, cut):
            each.cancel()
        await asyncio.gather(working, cut, return_exceptions=True)
