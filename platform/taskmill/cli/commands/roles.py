"""The roles of one image: api, worker, scheduler, and all of them for a laptop."""

from __future__ import annotations

import asyncio
from functools import partial

import rich_click as click

from taskmill import constants as c
from taskmill.cli import phrases
from taskmill.cli.commands import api_processes
from taskmill.cli.commands.node import list_nodes
from taskmill.cli.ending import until_signal
from taskmill.cli.language import in_language, log_language
from taskmill.cli.processes import configured, first_of, opened
from taskmill.cli.run_json import beside_dev
from taskmill.dev import constants as dc
from taskmill.log import configure_logging, get_logger
from taskmill.settings import Settings

log = get_logger(__name__)


def _role(**overrides: object) -> Settings:
    """一个角色的设置；它若加入了正在运行的 taskmill dev，就是人在看着，日志用这个人的语言。"""
    settings = configured(**overrides)
    joined = beside_dev(settings, role=True)
    if joined == settings:
        return settings
    joined = joined.model_copy(update={"log_lang": log_language(watched=True)})
    configure_logging(**joined.logging())
    return joined


@click.command()
@click.option("--host", default=None, help="Address to bind; default: TASKMILL_API_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port to bind, 0 takes a free one.")
@click.option(
    "--processes",
    type=click.IntRange(1, c.API_PROCESSES_MAX),
    default=None,
    help="Processes that share the port; default: TASKMILL_API_PROCESSES.",
)
@click.option("--inherited", hidden=True, default=None, help="What a parent leaves to its copies; not for people.")
@click.pass_context
def api(ctx: click.Context, host: str | None, port: int | None, processes: int | None, inherited: str | None) -> None:
    """Serve the REST API; while no key exists, a development token is printed that works from this machine only.

    Several processes share the port and need a key. Example: taskmill api --host 0.0.0.0 --port 8800 --processes 4
    """
    settings = _role(api_host=host, api_port=port, api_processes=processes)
    if inherited is not None:
        until_signal(partial(api_processes.copy, settings, inherited))
        return
    if settings.api_processes > 1:
        ctx.exit(until_signal(partial(api_processes.parent, settings)))

    async def work(stop: asyncio.Event, now: asyncio.Event) -> None:
        from taskmill.api.app import create_app, one_time_link
        from taskmill.api.server import serve
        from taskmill.services.access import new_dev_token

        async with opened(settings, "api", stop) as platform:
            token = None if await platform.keys.any_exists() else new_dev_token()
            if token is not None:
                click.echo(in_language(phrases.DEV_TOKEN(token=token)), err=True)

            app = create_app(platform, dev_token=token)

            def bound(actual: int) -> None:
                address = f"http://{settings.api_host}:{actual}"
                log.info("接口地址", url=f"{address}{c.API_PREFIX}")
                if token is not None and (link := one_time_link(app, address)) is not None:
                    click.echo(in_language(phrases.DASHBOARD_LINK(link=link)), err=True)

            await first_of(serve(app, settings.api_host, settings.api_port, stop=stop, bound=bound), now)

    until_signal(work)


@click.group(invoke_without_command=True)
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Queue to serve; repeatable. Default: all.")
@click.option("--concurrency", type=click.IntRange(1, c.CONCURRENCY_MAX), default=None, help="Tasks run at once.")
@click.pass_context
def worker(ctx: click.Context, queues: tuple[str, ...], concurrency: int | None) -> None:
    """Run tasks until SIGTERM, then drain: finish what runs within the grace, hand the rest back.

    Example: taskmill worker --queue emails --queue default --concurrency 20
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = _role(queues=list(queues), concurrency=concurrency)

    async def work(stop: asyncio.Event, now: asyncio.Event) -> None:
        from taskmill.engine.health import serving
        from taskmill.engine.succession import run_worker

        async with serving(settings) as health, opened(settings, "worker", stop) as platform:
            await run_worker(platform, stop, now, health)

    until_signal(work, settings.drain_grace_s)


worker.add_command(list_nodes)


@click.command()
def scheduler() -> None:
    """Run the loops: stager, cron, rescuer, pruner, auditor. Any number of replicas may run.

    Example: taskmill scheduler
    """
    settings = _role()

    async def work(stop: asyncio.Event, now: asyncio.Event) -> None:
        from taskmill.engine.periodic.scheduler import run_scheduler

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
    settings = configured(log_lang=log_language(watched=True))
    from taskmill.dev.dev import run_dev

    code = 0

    async def work(stop: asyncio.Event, _: asyncio.Event) -> None:
        nonlocal code
        code = await run_dev(settings, stop, demo=demo, exit_after=exit_after, choose=in_language)

    until_signal(work, dc.DEV_STOP_LIMIT_S + dc.DEV_STOP_TIMEOUT_S)
    ctx.exit(code)
