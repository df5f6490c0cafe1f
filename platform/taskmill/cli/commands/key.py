"""`taskmill key`: API keys, directly on the database: the first one cannot be made over the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from taskmill.cli import ending
from taskmill.cli.arguments import seconds
from taskmill.cli.failure import named
from taskmill.cli.language import log_language, words
from taskmill.cli.output import Column, Output, age, emit, output_option
from taskmill.cli.run_json import beside_dev
from taskmill.log import configure_logging
from taskmill.settings import load_settings

if TYPE_CHECKING:
    from taskmill.services.keys import KeyService

T = TypeVar("T")
COLUMNS = (
    Column("id", "编号", "ID"),
    Column("name", "名称", "NAME"),
    Column("prefix", "前缀", "PREFIX"),
    Column("scopes", "权限", "SCOPES", rank=1),
    Column("expires_at", "过期", "EXPIRES", show=age, rank=2),
    Column("created_at", "创建于", "AGE", show=age, rank=3),
    Column("revoked_at", "吊销于", "REVOKED", show=age),
)


@click.group()
def key() -> None:
    """API keys. Works on TASKMILL_DATABASE_URL directly, without the API.

    Example: taskmill key create ci
    """
    configure_logging(level="WARNING", language=log_language())


@key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write"]),
    default=("read", "write"),
    show_default=True,
    help="What it may do; repeatable; write includes read.",
)
@click.option("--expires-in", default=None, metavar="DURATION", help="Life of the key: 12h, 30d. Default: no end.")
@output_option
def create(name: str, scopes: tuple[str, ...], expires_in: str | None, output: Output) -> None:
    """Make a key and print its secret, which is never shown again.

    Example: taskmill key create dashboards --scope read --expires-in 90d
    """
    life = seconds(expires_in, "--expires-in")
    expires_at = None if life is None else datetime.now(UTC) + timedelta(seconds=life)
    with named({"name": "NAME", "scope": "--scope", "expires_at": "--expires-in"}):
        made = _on_database(lambda keys: keys.create(name, scopes, expires_at=expires_at))
    if output in {"table", "wide"}:
        click.echo(made["secret"])
        click.echo(words("请立即保存，此后不再显示", "keep it now, it is not shown again"), err=True)
    else:
        emit(made, output, COLUMNS, name="secret")


@key.command("list")
@output_option
def list_keys(output: Output) -> None:
    """List keys, the newest first, without their secrets.

    Example: taskmill key list -o wide
    """
    emit(_on_database(lambda keys: keys.list()), output, COLUMNS)


@key.command()
@click.argument("name", metavar="KEY")
@output_option
def revoke(name: str, output: Output) -> None:
    """Revoke a key by id, name or prefix; it is refused within seconds.

    Example: taskmill key revoke dashboards
    """
    emit(_on_database(lambda keys: keys.revoke(name)), output, COLUMNS)


def _on_database(work: Callable[[KeyService], Awaitable[Any]]) -> Any:
    """Do something with keys and return it as plain JSON values."""
    import msgspec

    from taskmill.services.schema import keys_of

    url = beside_dev(load_settings()).require_database_url()

    async def run() -> Any:
        async with keys_of(url) as keys:
            return await work(keys)

    return msgspec.to_builtins(ending.run(run()))
