"""`taskmill dev`: embedded servers, api, worker and scheduler in one process.

    servers → migrate → platform → api + worker + scheduler → run.json → demo → wait for Ctrl-C
Everything is closed in the opposite order; the servers last, so that the roles can settle what they ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr
from rich.console import Console

from taskmill import constants as c
from taskmill.api.app import create_app
from taskmill.api.auth import new_dev_token
from taskmill.api.server import serve
from taskmill.dev import ports
from taskmill.dev.run_file import run_file
from taskmill.dev.servers import PostgresServer, ValkeyServer
from taskmill.engine.scheduler import run_scheduler
from taskmill.engine.worker import WorkerRole
from taskmill.log import configure_logging, get_logger
from taskmill.plugin.host import PluginHost
from taskmill.services.faults import why
from taskmill.services.platform import Platform
from taskmill.stores import migrations
from taskmill.stores.database import Database
from taskmill.stores.partitions import ensure_partitions

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from taskmill.dev.child_server import ChildServer
    from taskmill.dev.demo_servers import DemoServers
    from taskmill.settings import Settings

log = get_logger(__name__)

T = TypeVar("T")


async def run_dev(settings: Settings, *, demo: bool, exit_after: bool, folder: Path | None = None) -> int:
    """Run everything until SIGINT or SIGTERM and return the exit code.

    `demo` submits real tasks; with `exit_after` the process ends after them: 0 if all completed, else 1.
    `folder` keeps the data of the embedded servers, by default `.taskmill` here; a server whose URL is set in
    `settings` is used as it is. Raises SetupError and UnavailableError of the servers and migrations.
    """
    home = (folder or Path(c.DEV_FOLDER)).resolve()
    home.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stop = asyncio.Event()
        _stop_on_signals(stop)
        _log_to_files(settings, home)
        settings = await _with_servers(settings, home, stack)
        await _migrate(settings.require_database_url())
        servers = await _demo_servers(stack) if demo else None
        platform = await Platform.open(settings, PluginHost.load(settings))
        stack.push_async_callback(platform.close)
        try:
            return await _run_roles(platform, home, servers, stop, exit_after=exit_after)
        except BaseExceptionGroup as group:
            # 命令行认得的是错误本身，不是任务组的包装
            for other in group.exceptions[1:]:
                log.warning("另一个角色也失败了", error=why(other))
            raise group.exceptions[0] from group


def _log_to_files(settings: Settings, home: Path) -> None:
    """逐个请求的日志进文件，终端留给人看。"""
    folder = settings.log_dir or home / "logs"
    configure_logging(
        level=settings.log_level, log_format=settings.log_format, log_dir=folder, max_bytes=settings.log_file_max_bytes,
        max_age_s=settings.log_file_max_age_s, count=settings.log_file_count,
    )
    for chatty in ("httpx2", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """第一次信号：有序停止；第二次恢复默认行为，立即结束。"""
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        log.info("收到信号，正在停止；再按一次立即结束", signal=number.name)
        stop.set()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first, number)


async def _with_servers(settings: Settings, home: Path, stack: AsyncExitStack) -> Settings:
    """Start the servers whose URL is not set and return settings that name them and suit one process."""
    changes: dict[str, Any] = {"drain_grace_s": min(settings.drain_grace_s, c.DEV_DRAIN_GRACE_S)}
    starts: list[tuple[str, type[ChildServer]]] = []
    if settings.database_url is None:
        starts.append(("database_url", PostgresServer))
    if settings.broker_url is None:
        starts.append(("broker_url", ValkeyServer))
    for name, kind in starts:
        server = kind(home / kind.name.lower())
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        changes[name] = SecretStr(server.url)
    # 默认端口被占用就换一个；明说的端口则照用，让错误显现
    if "api_port" not in settings.model_fields_set and not ports.is_free(settings.api_port):
        changes["api_port"] = ports.choose(None)
    return settings.model_copy(update=changes)


async def _migrate(url: str) -> None:
    await migrations.upgrade(url)
    database = Database(url)
    await database.open()
    try:
        async with database.transaction() as connection:
            await ensure_partitions(connection, c.PARTITION_DAYS_AHEAD)
    finally:
        await database.close()


async def _demo_servers(stack: AsyncExitStack) -> DemoServers:
    """插件从环境变量读配置，所以要在加载插件之前设好；用户自己设的优先。"""
    from taskmill.dev.demo import plugin_settings  # noqa: PLC0415 - 演示的依赖只在演示时需要
    from taskmill.dev.demo_servers import demo_servers  # noqa: PLC0415

    servers = await stack.enter_async_context(demo_servers(asyncio.get_running_loop()))
    for name, value in plugin_settings(servers).items():
        os.environ.setdefault(name, value)
    return servers


async def _run_roles(
    platform: Platform, home: Path, servers: DemoServers | None, stop: asyncio.Event, *, exit_after: bool
) -> int:
    """Run the three roles; whichever ends first, by itself or by an error, ends the others."""
    settings, token, listening = platform.settings, new_dev_token(), asyncio.Future[int]()
    ready = asyncio.Event()
    app = create_app(platform, dev_token=token)
    worker = WorkerRole(platform, settings.queues, settings.concurrency)
    async with asyncio.TaskGroup() as group:
        for role in (
            serve(app, settings.api_host, settings.api_port, stop=stop, ready=ready, bound=listening.set_result),
            worker.run(stop),
            run_scheduler(platform, stop),
        ):
            group.create_task(_until_end(role, stop))
        try:
            if await _first(asyncio.ensure_future(ready.wait()), stop) is None:
                return 1
            return await _serve_people(listening.result(), token, home, servers, stop, exit_after=exit_after)
        finally:
            stop.set()


async def _until_end(role: Awaitable[object], stop: asyncio.Event) -> None:
    """Await a role; after the stop it has DEV_STOP_LIMIT_S left, then it is cancelled with a warning."""
    work, stopped = asyncio.ensure_future(role), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait({work}, timeout=c.DEV_STOP_LIMIT_S)
        if not done:
            log.warning("角色没有按时停下，取消它", role=getattr(role, "__qualname__", repr(role)))
            work.cancel()
            await asyncio.wait({work}, timeout=c.DEV_CANCEL_S)
        elif not work.cancelled():
            work.result()
    finally:
        stop.set()
        stopped.cancel()
        work.cancel()


async def _serve_people(
    port: int,
    token: str,
    home: Path,
    servers: DemoServers | None,
    stop: asyncio.Event,
    *,
    exit_after: bool,
) -> int:
    api_url = f"http://{ports.HOST}:{port}"
    console = Console(highlight=False, soft_wrap=True)
    with run_file(home, api_url=api_url, token=token) as path:
        console.print(f"API      {api_url}\n接口文档 {api_url}/schema\n令牌     {token}\n         (also in {path})")
        completed = True
        if servers is not None:
            completed = bool(await _first(asyncio.ensure_future(_demo(api_url, token, servers)), stop))
        if exit_after:
            return 0 if completed else 1
        if not stop.is_set():
            console.print("按 Ctrl-C 停止 / press Ctrl-C to stop")
        await stop.wait()
    return 0


async def _demo(api_url: str, token: str, servers: DemoServers) -> bool:
    from taskmill.dev.demo import Demo  # noqa: PLC0415 - 见 _demo_servers

    return await Demo(api_url, token, servers, Console()).run()


async def _first(work: asyncio.Future[T], stop: asyncio.Event) -> T | None:
    """Return the result of `work`, or None if the stop comes first."""
    stopped = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if work in done:
        return work.result()
    work.cancel()
    return None
