"""`taskmill api --processes N`: a parent that only holds the port, and copies that serve."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile

from taskmill import constants as c
from taskmill.cli.processes import first_of, opened
from taskmill.log import get_logger
from taskmill.settings import Settings

log = get_logger(__name__)
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client 在导入时看它


async def parent(settings: Settings, stop: asyncio.Event, now: asyncio.Event) -> int:
    """Start the copies and end with them; returns the exit code. SetupError CONFIG_INVALID if an address cannot be bound."""
    from taskmill.api.probes import CopiesApp
    from taskmill.api.server import API_ADDRESS
    from taskmill.serving import constants as sc
    from taskmill.serving.copies import Copies
    from taskmill.serving.endpoint import bind, listening

    with (
        bind(settings.api_host, settings.api_port, API_ADDRESS) as listener,
        tempfile.TemporaryDirectory(prefix="taskmill-metrics-") as folder,
    ):
        address = listener.getsockname()[:2]
        command = [sys.executable, "-m", "taskmill.cli", "api", "--port", str(address[1]), "--processes", "1"]
        copies = Copies(
            settings.api_processes,
            command,
            listener,
            start_s=settings.database_wait_s + sc.COPY_START_S,
            environment={**os.environ, SHARED: folder},
        )
        log.info("接口地址", url=f"http://{settings.api_host}:{address[1]}{c.API_PREFIX}", processes=settings.api_processes)
        probes = CopiesApp(copies, address, stop)
        async with listening(probes, settings.bind_host, settings.api_health_port, "TASKMILL_API_HEALTH_PORT"):
            return await copies.run(stop, now)


async def copy(settings: Settings, inherited: str, stop: asyncio.Event, now: asyncio.Event) -> None:
    """Serve on the socket of the parent, until it says so or is gone."""
    from taskmill.api.app import create_app
    from taskmill.api.server import serve
    from taskmill.api.telemetry import Telemetry
    from taskmill.serving.copies import Inherited
    from taskmill.serving.copy_side import beating, listener_of

    parts = Inherited.of(inherited)
    alone = settings.model_copy(update={"api_health_port": 0})  # 探针由父进程回答
    async with opened(alone, "api", stop) as platform:
        if not await platform.keys.any_exists():
            log.warning("还没有密钥：几个进程时没有开发令牌，先用 taskmill key create 建一个")
        app = create_app(platform, telemetry=Telemetry(os.environ.get(SHARED)))
        ready = asyncio.Event()
        async with beating(parts, ready, stop, lambda: platform.health.refused_s > c.LOGIN_REFUSED_S):
            listener = listener_of(parts)
            serving = serve(app, alone.api_host, alone.api_port, stop=stop, ready=ready, listener=listener)
            await first_of(serving, now)
