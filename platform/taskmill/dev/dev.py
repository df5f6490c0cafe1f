"""`taskmill dev`: embedded servers, api, worker and scheduler in one process.

    ports → servers → plugins → migrate → platform → api + worker + scheduler → run.json → demo → wait for Ctrl-C
The ports come first: one that is taken stops the start before anything has been touched. Everything is closed in the opposite order; the servers last, so that the roles can settle what they ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from taskmill import constants as c
from taskmill.api.app import create_app, one_time_link
from taskmill.api.server import serve
from taskmill.dev import constants as dc
from taskmill.dev import ports
from taskmill.dev.run_file import owner_of, run_file
from taskmill.dev.screen import Screen
from taskmill.dev.servers import PostgresServer, ValkeyServer
from taskmill.engine.periodic.scheduler import run_scheduler
from taskmill.engine.worker import WorkerRole
from taskmill.errors import Code, PluginError, SetupError
from taskmill.log import configure_logging, get_logger
from taskmill.plugin.host import PluginHost
from taskmill.secret import Secret
from taskmill.services.access import new_dev_token
from taskmill.services.faults import why
from taskmill.services.platform import Platform
from taskmill.services.setup import migrate_up
from taskmill.words import Words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from taskmill.dev.child_server import ChildServer
    from taskmill.dev.demo_servers import DemoServers
    from taskmill.dev.screen import Choose
    from taskmill.settings import Settings

log = get_logger(__name__)

T = TypeVar("T")
STARTING = Words("正在启动数据库与各角色……", "starting the servers and the roles …")
STOPPING, STOPPED = Words("正在停止……", "stopping …"), Words("已停止", "stopped")
PORT_TAKEN = Words("端口 {port} 已被占用，接口改用 {free}", "port {port} is taken, the API is at {free} instead")
API, DOCS, TOKEN = Words("接口", "API"), Words("接口文档", "docs"), Words("令牌", "token")
ALSO, LOGS = Words("以上也在", "also in"), Words("日志", "logs")
OPEN = Words("在浏览器里打开（十分钟内，一次）：{link}", "open in a browser (within ten minutes, once): {link}")
NEXT = Words(
    "另开一个终端，在此目录：{program} task list；Ctrl-C 停止",
    "in a second terminal, here: {program} task list; Ctrl-C stops",
)


async def run_dev(
    settings: Settings,
    stop: asyncio.Event,
    *,
    demo: bool,
    exit_after: bool,
    folder: Path | None = None,
    choose: Choose = str,
) -> int:
    """Run everything until `stop` is set and return the exit code.

    `demo` submits real tasks; with `exit_after` the process ends after them: 0 if all completed, else 1.
    `folder` keeps the data of the embedded servers, by default `.taskmill` here; a server whose URL is set in
    `settings` is used as it is. `choose` takes the form of a text in the reader's language. Raises SetupError and
    UnavailableError of ports, servers and migrations.
    """
    screen, port = Screen(choose), settings.api_port
    settings = _quiet(_with_ports(settings))
    home = (folder or Path(c.DEV_FOLDER)).resolve()
    home.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        _log_to_files(settings, home)
        screen.say(STARTING)
        if not exit_after:
            _tell_of_the_end(screen, stop, stack)
        settings = await _with_servers(settings, home, stack)
        if settings.api_port != port:
            screen.say(PORT_TAKEN(port=port, free=settings.api_port))
        servers = await _demo_servers(stack) if demo else None
        host = PluginHost.load(settings)
        await migrate_up(settings.require_database_url(), plugins=host.migrations(), without=partial(_do_without, host))
        platform = await Platform.open(settings, host)
        stack.push_async_callback(platform.close)
        try:
            return await _run_roles(platform, home, screen, servers, stop, exit_after=exit_after)
        except BaseExceptionGroup as group:
            # 命令行认得的是错误本身，不是任务组的包装
            for other in group.exceptions[1:]:
                log.warning("另一个角色也失败了", error=why(other))
            raise group.exceptions[0] from group


def _do_without(host: PluginHost, plugin: str, error: SetupError) -> None:
    """一个插件的迁移写错了，别的照常：它算失败，和工作进程里一样。"""
    host.hold(plugin, PluginError(Code.PLUGIN_FAILED, plugin=plugin, reason=Words(**error.message())))
    log.error("插件的迁移出错，不带它启动", plugin=plugin, error=str(error))


def _tell_of_the_end(screen: Screen, stop: asyncio.Event, stack: AsyncExitStack) -> None:
    """停下要几秒：信号一到就说，停好了再说；出错结束的，错误自己会说。"""

    async def stopping() -> None:
        await stop.wait()
        screen.say(STOPPING)

    def stopped(kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            screen.say(STOPPED)

    stack.push(stopped)
    stack.callback(asyncio.ensure_future(stopping()).cancel)


def _log_to_files(settings: Settings, home: Path) -> None:
    """日志进文件，终端留给人看：只有警告与错误，除非明说要别的。"""
    level = settings.log_level if "log_level" in settings.model_fields_set else "WARNING"
    changes: dict[str, Any] = {"log_dir": settings.log_dir or home / "logs", "terminal_level": level}
    configure_logging(**settings.logging() | changes)
    for chatty in ("httpx2", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _quiet(settings: Settings) -> Settings:
    """刚起来的笔记本什么都慢：慢语句的提醒只会盖住第一屏，明说了要才有。"""
    return settings if "slow_query_s" in settings.model_fields_set else settings.model_copy(update={"slow_query_s": 0.0})


def _with_ports(settings: Settings) -> Settings:
    """默认端口被占用就换一个；明说的端口则必须空着，现在就说，免得迁移完了、工作进程登记了才发现。"""
    if "api_port" not in settings.model_fields_set and not ports.is_free(settings.api_port):
        settings = settings.model_copy(update={"api_port": ports.choose(None)})
    for address, port in (
        ("api_host", "api_port"),
        ("bind_host", "api_health_port"),
        ("bind_host", "worker_health_port"),
        ("bind_host", "scheduler_health_port"),
    ):
        field = f"TASKMILL_{address.upper()}, TASKMILL_{port.upper()}"
        ports.require(getattr(settings, address), getattr(settings, port), field)
    return settings


async def _with_servers(settings: Settings, home: Path, stack: AsyncExitStack) -> Settings:
    """启动没有给地址的服务器，返回写明它们、适合单个进程的设置。"""
    changes: dict[str, Any] = {"drain_grace_s": min(settings.drain_grace_s, dc.DEV_DRAIN_GRACE_S)}
    starts: list[tuple[str, type[ChildServer]]] = []
    if settings.database_url is None:
        starts.append(("database_url", PostgresServer))
    if settings.broker_url is None:
        starts.append(("broker_url", ValkeyServer))
    for name, kind in starts:
        server = kind(home / kind.name.lower())
        try:
            await asyncio.to_thread(server.start)
        except SetupError as error:
            raise _told(error, home) from error
        stack.push_async_callback(asyncio.to_thread, server.stop)
        changes[name] = Secret(server.url)
    return settings.model_copy(update=changes)


def _told(error: SetupError, home: Path) -> SetupError:
    """数据正由另一个 taskmill dev 用着：说它在哪，而不是说数据库起不来。"""
    found = owner_of(home)
    if found is None or error.details.get("owner") != str(found[0]):
        return error
    return SetupError(Code.DEV_RUNNING, pid=found[0], url=found[1])


async def _demo_servers(stack: AsyncExitStack) -> DemoServers:
    """插件从环境变量读配置，所以要在加载插件之前设好；用户自己设的优先。"""
    from taskmill.dev.demo import plugin_settings, with_own  # noqa: PLC0415 - 演示的依赖只在演示时需要
    from taskmill.dev.demo_servers import demo_servers  # noqa: PLC0415

    servers = await stack.enter_async_context(demo_servers(asyncio.get_running_loop()))
    for name, value in plugin_settings(servers).items():
        os.environ[name] = with_own(name, value, os.environ.get(name))
    return servers


def _demo_settings(servers: DemoServers | None) -> dict[str, str]:
    """演示给插件设的、确实用上的变量；用户自己设的可能有密码，不写进文件。"""
    if servers is None:
        return {}
    from taskmill.dev.demo import plugin_settings  # noqa: PLC0415 - 见 _demo_servers

    return {name: value for name, value in plugin_settings(servers).items() if os.environ.get(name) == value}


async def _run_roles(
    platform: Platform, home: Path, screen: Screen, servers: DemoServers | None, stop: asyncio.Event, *, exit_after: bool
) -> int:
    """运行三个角色；哪个先结束，自己结束或出错，都带着别的结束。"""
    settings, token, listening = platform.settings, new_dev_token(), asyncio.Future[int]()
    ready = asyncio.Event()
    app = create_app(platform, dev_token=token, beside_keys=True)
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
            facts = {
                "api_url": f"http://{ports.HOST}:{listening.result()}",
                "token": token,
                "database_url": settings.require_database_url(),
                "broker_url": settings.require_broker_url(),
            }
            link = one_time_link(app, facts["api_url"])
            with run_file(home, plugin_settings=_demo_settings(servers), **facts) as path:
                return await _serve_people(facts, link, path, screen, servers, stop, exit_after=exit_after)
        finally:
            stop.set()


async def _until_end(role: Awaitable[object], stop: asyncio.Event) -> None:
    """等一个角色；停止之后它还有 DEV_STOP_LIMIT_S，到时取消并警告。"""
    work, stopped = asyncio.ensure_future(role), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait({work}, timeout=dc.DEV_STOP_LIMIT_S)
        if not done:
            log.warning("角色没有按时停下，取消它", role=getattr(role, "__qualname__", repr(role)))
            work.cancel()
            await asyncio.wait({work}, timeout=dc.DEV_CANCEL_S)
        elif not work.cancelled():
            work.result()
    finally:
        stop.set()
        stopped.cancel()
        work.cancel()


async def _serve_people(
    facts: Mapping[str, str],
    link: str | None,
    path: Path,
    screen: Screen,
    servers: DemoServers | None,
    stop: asyncio.Event,
    *,
    exit_after: bool,
) -> int:
    rows = [(API, facts["api_url"]), (DOCS, f"{facts['api_url']}/schema"), (TOKEN, facts["token"])]
    screen.facts([*rows, (ALSO, str(path)), (LOGS, str(path.parent / "logs"))])
    completed = True
    if servers is not None:
        completed = bool(await _first(asyncio.ensure_future(_demo(facts, servers, screen)), stop))
    if exit_after:
        return 0 if completed else 1
    if not stop.is_set():
        screen.say(NEXT(program=_program()))
        if link is not None:
            screen.say(OPEN(link=link))
    await stop.wait()
    return 0


def _program() -> str:
    """怎么再叫到这个程序：虚拟环境未必在 PATH 里。"""
    if shutil.which("taskmill") is not None:
        return "taskmill"
    path = Path(sys.argv[0]).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


async def _demo(facts: Mapping[str, str], servers: DemoServers, screen: Screen) -> bool:
    from taskmill.dev.demo import Demo  # noqa: PLC0415 - 见 _demo_servers

    return await Demo(facts["api_url"], facts["token"], servers, screen).run()


async def _first(work: asyncio.Future[T], stop: asyncio.Event) -> T | None:
    """返回 `work` 的结果；先停止就是 None。"""
    stopped = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if work in done:
        return work.result()
    work.cancel()
    return None
