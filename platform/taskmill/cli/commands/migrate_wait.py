"""`taskmill migrate wait`: for an init container, so that the roles behind it start on a schema that fits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import rich_click as click

from taskmill.cli import constants as c
from taskmill.cli import ending
from taskmill.cli.arguments import seconds
from taskmill.cli.failure import EXIT_TIMEOUT
from taskmill.cli.language import words
from taskmill.errors import Code, SetupError, UnavailableError


@click.command()
@click.option("--timeout", default=None, metavar="DURATION", help="Give up after this time, exit code 124. Default: never.")
@click.pass_context
def wait(ctx: click.Context, timeout: str | None) -> None:
    """Wait until the database can be reached and has what this program and its plugins need; changes nothing.

    A database that is newer than this program can read is an error at once: waiting would not help.

    Example: taskmill migrate wait --timeout 10m
    """
    from taskmill.plugin.host import PluginHost
    from taskmill.settings import load_settings

    patience = seconds(timeout, "--timeout")
    settings = load_settings()
    url = settings.require_database_url()
    if not ending.run(_wait(url, PluginHost.load(settings).migrations(), patience)):
        click.echo(words(f"等了 {timeout}，数据库仍不合用", f"the database still does not fit after {timeout}"), err=True)
        ctx.exit(EXIT_TIMEOUT)
    click.echo(words("数据库合用", "the database fits"), err=True)


async def _wait(url: str, plugins: Mapping[str, Path], patience: float | None) -> bool:
    """返回是否等到；原因有变时说一次。"""
    deadline = None if patience is None else time.monotonic() + patience
    told = ""
    while True:
        reason = await _lacking(url, plugins)
        if not reason:
            return True
        if reason != told:
            told = reason
            click.echo(words("等待：", "waiting: ") + reason, err=True)
        if deadline is not None and time.monotonic() >= deadline:
            return False
        await asyncio.sleep(c.SCHEMA_WAIT_POLL_S)


async def _lacking(url: str, plugins: Mapping[str, Path]) -> str:
    """说出还缺什么，空串表示齐了。"""
    from taskmill.services.schema import migration_status, verify

    try:
        await verify(url)
        chains = await migration_status(url, plugins=plugins)
    except UnavailableError as error:
        return words(**error.message())
    except SetupError as error:
        if error.code != Code.SCHEMA_BEHIND:
            raise
        return words(**error.message())
    for name, chain in chains.items():
        if chain.ahead and not chain.readable:
            raise SetupError(Code.SCHEMA_AHEAD, found=chain.current, expected=chain.head)
        if chain.needed:
            return f"{name}: {chain.current} → {chain.head}"
    return ""
