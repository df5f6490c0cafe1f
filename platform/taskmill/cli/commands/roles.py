"""The roles of one image: api, worker, scheduler, and all of them for a laptop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import rich_click as click

from taskmill import constants as c
from taskmill.cli import ending, phrases
from taskmill.cli.ending import until_signal
from taskmill.cli.language import in_language
from taskmill.log import configure_logging, get_logger
from taskmill.settings import Settings, load_settings
from taskmill.urls import address

if TYPE_CHECKING:
    from taskmill.services.platform import Platform

log = get_logger(__name__)
T = TypeVar("T")


def configured(**overrides: object) -> Settings:
    """Return the settings with what the command line says over them, and set up the logs; SetupError CONFIG_INVALID."""
    settings = load_settings(**{name: value for name, value in overrides.items() if value not in (None, [])})
    configure_logging(
        level=settings.log_level,
        log_format=settings.log_format,
        log_dir=settings.log_dir,
        max_bytes=settings.log_file_max_bytes,
        max_age_s=settings.log_file_max_age_s,
        count=settings.log_file_count,
        language=settings.log_lang,
    )
    return settings


@asynccontextmanager
async def opened(settings: Settings, role: str, stop: asyncio.Event) -> AsyncIterator[Platform]:
    """Give a platform on a database whose schema fits: SetupError SCHEMA_BEHIND or SCHEMA_AHEAD if it does not.

    Waits for PostgreSQL as long as the settings say, or until `stop` is set: then UnavailableError DATABASE_UNAVAILABLE.
    """
    from taskmill.plugin.host import PluginHost
    from taskmill.services.platform import Platform
    from taskmill.services.setup import behind, verify
    from taskmill.services.startup import patiently

    url = settings.require_database_url()
    broker = settings.require_broker_url()
    log.info("启动", role=role, pid=os.getpid(), database=address(url), broker=address(broker), changed=_changed(settings))
    await patiently(lambda: verify(url), settings.database_wait_s, stop)
    host = PluginHost.load(settings)
    if role == "worker":
        late = await patiently(lambda: behind(url, host.migrations()), settings.database_wait_s, stop)
        for name, chain in late.items():
            log.error(
                "插件的表没有迁移好，这个工作进程不运行它：taskmill migrate up",
                plugin=name,
                current=chain.current,
                head=chain.head,
            )
        if late:
            host = PluginHost.load(settings.model_copy(update={"plugins_deny": [*settings.plugins_deny, *late]}))
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


def run_async(work: Awaitable[T]) -> T:
    """Run to the end on the event loop that production uses."""
    return ending.run(work)


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


@click.command()
@click.option("--host", default=None, help="Address to bind; default: TASKMILL_API_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port to bind, 0 takes a free one.")
def api(host: str | None, port: int | None) -> None:
    """Serve the REST API; while no key exists, a development token is printed that works from this machine only.

    Example: taskmill api --host 0.0.0.0 --port 8800
    """
    settings = configured(api_host=host, api_port=port)

    async def work(stop: asyncio.Event, now: asyncio.Event) -> None:
        from taskmill.api.app import create_app
        from taskmill.api.auth import new_dev_token
        from taskmill.api.server import serve

        async with opened(settings, "api", stop) as platform:
            token = None if await platform.keys.any_exists() else new_dev_token()
            if token is not None:
                click.echo(in_language(phrases.DEV_TOKEN(token=token)), err=True)

            def bound(actual: int) -> None:
                log.info("接口地址", url=f"http://{settings.api_host}:{actual}{c.API_PREFIX}")

            app = create_app(platform, dev_token=token)
            await first_of(serve(app, settings.api_host, settings.api_port, stop=stop, bound=bound), now)

    until_signal(work)


@click.command()
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Queue to serve; repeatable. Default: all.")
@click.option("--concurrency", type=click.IntRange(1, c.CONCURRENCY_MAX), default=None, help="Tasks run at once.")
def worker(queues: tuple[str, ...], concurrency: int | None) -> None:
    """Run tasks until SIGTERM, then drain: finish what runs within the grace, hand the rest back.

    Example: taskmill worker --queue emails --queue default --concurrency 20
    """
    settings = configured(queues=list(queues), concurrency=concurrency)

    async def work(stop: asyncio.Event, now: asyncio.Event) -> None:
        from taskmill.engine.worker import WorkerRole

        async with opened(settings, "worker", stop) as platform:
            await WorkerRole(platform, settings.queues, settings.concurrency).run(stop, now)

    until_signal(work, settings.drain_grace_s)


@click.command()
def scheduler() -> None:
    """Run the loops: stager, cron, rescuer, pruner, auditor. Any number of replicas may run.

    Example: taskmill scheduler
    """
    settings = configured()

    async def work(stop: asyncio.Event, now: asyncio.Event) -> None:
        from taskmill.engine.scheduler import run_scheduler

        async with opened(settings, "scheduler", stop) as platform:
            await first_of(run_scheduler(platform, stop), now)

    until_signal(work)


@click.command()
@click.option("--demo", is_flag=True, help="Submit real tasks and show them finishing.")
@click.option("--exit", "exit_after", is_flag=True, help="End after the demo, with its exit code.")
@click.pass_context
def dev(ctx: click.Context, demo: bool, exit_after: bool) -> None:
    """Run everything on this machine, with embedded PostgreSQL and Valkey unless their URLs are set.

    Example: taskmill dev --demo
    """
    settings = configured()
    from taskmill.dev.dev import run_dev

    ctx.exit(run_async(run_dev(settings, demo=demo, exit_after=exit_after, choose=in_language)))
