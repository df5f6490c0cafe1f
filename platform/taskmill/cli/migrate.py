"""`taskmill migrate`: the schema of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from taskmill.cli.failure import EXIT_FAILED
from taskmill.cli.language import words
from taskmill.cli.output import Column, Output, emit, output_option
from taskmill.cli.roles import run_async
from taskmill.log import configure_logging
from taskmill.settings import Settings, load_settings

if TYPE_CHECKING:
    from taskmill.stores.migrations import MigrationStatus

COLUMNS = (
    Column("chain", "迁移链", "CHAIN"), Column("current", "现为", "CURRENT"), Column("head", "最新", "HEAD"),
    Column("pending", "待执行", "PENDING"), Column("state", "状态", "STATE"),
)


@click.group()
def migrate() -> None:
    """Bring the database to this program's schema, or tell where it stands.

    Example: taskmill migrate up
    """
    configure_logging()


def _plugins(settings: Settings) -> dict[str, Path]:
    from taskmill.plugin.host import PluginHost

    return PluginHost.load(settings).migrations()


def _row(name: str, found: MigrationStatus) -> dict[str, Any]:
    state = "ahead" if found.ahead else "behind" if found.pending else "ok"
    return {
        "chain": name, "current": found.current, "head": found.head, "pending": found.pending, "ahead": found.ahead,
        "state": state,
    }


@migrate.command()
@click.option("--revision", default="head", show_default=True, help="Where the core's chain stops.")
def up(revision: str) -> None:
    """Migrate up, the plugins' own chains included, and make the partitions of the coming days.

    Example: taskmill migrate up
    """
    from taskmill.services.setup import migrate_up

    settings = load_settings()
    url = settings.require_database_url()
    made = run_async(migrate_up(url, revision, plugins=_plugins(settings)))
    click.echo(
        words(f"已迁移到 {revision}，新建分区 {made} 个", f"migrated to {revision}, {made} partitions made"), err=True
    )


@migrate.command()
@click.argument("revision")
@click.option("--plugin", default=None, metavar="NAME", help="Migrate this plugin's chain instead of the core's.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def down(revision: str, plugin: str | None, yes: bool) -> None:
    """Migrate down to REVISION; `base` leaves nothing: all tasks are lost.

    Example: taskmill migrate down base --yes
    """
    from taskmill.services.setup import migrate_down

    settings = load_settings()
    url = settings.require_database_url()
    if not yes:
        click.confirm(words(f"退回到 {revision} 会删除数据，继续？", f"Going down to {revision} deletes data. Go on?"),
                      abort=True, err=True)  # fmt: skip
    run_async(migrate_down(url, revision, plugin=plugin, plugins=_plugins(settings) if plugin else {}))
    click.echo(words(f"已退回 {revision}", f"migrated down to {revision}"), err=True)


@migrate.command()
@output_option
@click.pass_context
def status(ctx: click.Context, output: Output) -> None:
    """Tell where the core and each plugin stand; exit code 1 unless all fit.

    Example: taskmill migrate status -o json
    """
    from taskmill.services.setup import migration_status

    settings = load_settings()
    url = settings.require_database_url()
    chains = run_async(migration_status(url, plugins=_plugins(settings)))
    emit([_row(name, chain) for name, chain in chains.items()], output, COLUMNS, name="chain")
    ctx.exit(EXIT_FAILED if any(chain.pending or chain.ahead for chain in chains.values()) else 0)


@migrate.command()
@click.option("--revision", default="head", show_default=True, help="Where to stop.")
def sql(revision: str) -> None:
    """Print the SQL that builds the core's schema from nothing.

    Example: taskmill migrate sql > schema.sql
    """
    from taskmill.services.setup import schema_sql

    click.echo(schema_sql(revision), nl=False)
