"""`taskmill migrate`: the schema of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from taskmill import constants as c
from taskmill.cli import ending, phrases
from taskmill.cli.arguments import usage
from taskmill.cli.commands.migrate_wait import wait
from taskmill.cli.failure import EXIT_FAILED
from taskmill.cli.language import log_language, words
from taskmill.cli.output import Column, Output, confirm, emit, output_option
from taskmill.cli.run_json import beside_dev
from taskmill.cli.termination import telling
from taskmill.log import configure_logging
from taskmill.settings import Settings, load_settings

if TYPE_CHECKING:
    from taskmill.stores.schema.standing import MigrationStatus

COLUMNS = (
    Column("chain", "迁移链", "CHAIN"),
    Column("current", "现为", "CURRENT"),
    Column("head", "最新", "HEAD"),
    Column("pending", "待执行", "PENDING"),
    Column("state", "状态", "STATE"),
)


@click.group()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring the database to this program's schema, or tell where it stands.

    Example: taskmill migrate up
    """
    configure_logging(level="WARNING" if ctx.invoked_subcommand == "status" else "INFO", language=log_language())


def _plugins(settings: Settings) -> dict[str, Path]:
    from taskmill.plugin.host import PluginHost

    return PluginHost.load(settings).migrations()


def _row(name: str, found: MigrationStatus) -> dict[str, Any]:
    state = "ok" if not (found.ahead or found.pending) else _state(found)
    return {
        "chain": name,
        "current": found.current,
        "head": found.head,
        "pending": found.pending,
        "ahead": found.ahead,
        "state": state,
    }


def _state(found: MigrationStatus) -> str:
    if found.ahead:
        return "ahead, readable" if found.readable else "ahead"
    return "behind" if found.needed else "contract pending"


@migrate.command()
@click.option("--revision", default=None, help="Where the core's chain stops; not with --phase.")
@click.option(
    "--phase",
    type=click.Choice(["all", "expand", "contract"]),
    default="all",
    show_default=True,
    help="expand: stop where older programs would no longer work; contract: only the rest, once they are gone.",
)
@click.option("--allow-ahead", is_flag=True, help="Succeed on a newer schema even if it does not let this version in.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=c.MIGRATION_LOCK_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another migration.",
)
def up(revision: str | None, phase: str, allow_ahead: bool, wait_s: float) -> None:
    """Migrate up, the plugins' own chains included, and make the partitions of the coming days.

    With TASKMILL_TERMINATION_MESSAGE set, the result is written to that file as JSON.

    Example: taskmill migrate up --phase expand
    """
    from taskmill.services.setup import migrate_up
    from taskmill.services.startup import patiently

    settings = beside_dev(load_settings())
    if revision is not None and phase != "all":
        raise usage(phrases.REVISION_OR_PHASE)
    with telling(settings.termination_message) as tell:
        url, plugins = settings.require_database_url(), _plugins(settings)
        done = ending.run(
            patiently(
                lambda: migrate_up(url, revision, phase=phase, allow_ahead=allow_ahead, plugins=plugins, wait_s=wait_s),
                settings.database_wait_s,
            )
        )
        tell(done)
    at, made = done.after or "-", done.partitions
    if done.ahead:
        click.echo(words(f"数据库比本程序新，停在 {at}", f"the database is newer than this program; left at {at}"), err=True)
    else:
        click.echo(words(f"已迁移到 {at}，新建分区 {made} 个", f"migrated to {at}, {made} partitions made"), err=True)


@migrate.command()
@click.argument("revision")
@click.option("--plugin", default=None, metavar="NAME", help="Migrate this plugin's chain instead of the core's.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def down(revision: str, plugin: str | None, yes: bool) -> None:
    """Migrate down to REVISION; `base` leaves nothing: all tasks are lost.

    Example: taskmill migrate down base --yes
    """
    from taskmill.services.setup import migrate_down

    settings = beside_dev(load_settings())
    url = settings.require_database_url()
    if not yes:
        confirm(words(f"退回到 {revision} 会删除数据，继续？", f"Going down to {revision} deletes data. Go on?"))
    ending.run(migrate_down(url, revision, plugin=plugin, plugins=_plugins(settings) if plugin else {}))
    click.echo(words(f"已退回 {revision}", f"migrated down to {revision}"), err=True)


@migrate.command()
@output_option
@click.pass_context
def status(ctx: click.Context, output: Output) -> None:
    """Tell where the core and each plugin stand; exit code 1 unless this program can work with all of them.

    Example: taskmill migrate status -o json
    """
    from taskmill.services.schema import migration_status

    settings = beside_dev(load_settings())
    url = settings.require_database_url()
    chains = ending.run(migration_status(url, plugins=_plugins(settings)))
    emit([_row(name, chain) for name, chain in chains.items()], output, COLUMNS, name="chain")
    ctx.exit(EXIT_FAILED if any(chain.needed or not chain.readable for chain in chains.values()) else 0)


@migrate.command()
@click.option("--revision", default="head", show_default=True, help="Where to stop.")
def sql(revision: str) -> None:
    """Print the SQL that builds the core's schema from nothing.

    Example: taskmill migrate sql > schema.sql
    """
    from taskmill.services.setup import schema_sql

    click.echo(schema_sql(revision), nl=False)


migrate.add_command(wait)
