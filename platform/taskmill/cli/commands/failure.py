"""`taskmill failure`: what fails, grouped by how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich_click as click

from taskmill import constants as c
from taskmill.cli.arguments import timestamp
from taskmill.cli.language import words
from taskmill.cli.output import Column, Output, age, emit, output_option, record
from taskmill.cli.rest import Api, remote, segment


def _named(item: Mapping[str, Any]) -> bool:
    return not item.get("other")


def _others(_: Any) -> str:
    return words("其余：这个类型的组太多了", "others: the kind has too many groups")


def _tasks(value: Any) -> str:
    return "\n".join(f"{task['id']}  {task['state']:<9}  {age(task['created_at'])}" for task in value)


COLUMNS = (
    Column("fingerprint", "指纹", "FINGERPRINT"),
    Column("n", "次数", "COUNT"),
    Column("kind", "类型", "KIND", rank=1),
    Column("error_type", "错误类型", "ERROR_TYPE", when=_named, rank=2),
    Column("last_at", "最近", "LAST", show=age),
    Column("first_at", "最早", "FIRST", show=age, rank=4),
    Column("queues", "队列", "QUEUES", wide=True),
    Column("frame", "位置", "FRAME", when=_named, rank=3),
    Column("message", "说明", "MESSAGE", when=_named),
)
DETAIL = (
    Column("fingerprint", "指纹", "FINGERPRINT"),
    Column("kind", "类型", "KIND"),
    Column("other", "其余", "OTHERS", show=_others, when=lambda item: bool(item.get("other"))),
    Column("error_type", "错误类型", "ERROR_TYPE", when=_named),
    Column("message", "说明", "MESSAGE", when=_named),
    Column("frame", "位置", "FRAME", when=_named),
    Column("queues", "队列", "QUEUES"),
    Column("n", "次数", "COUNT"),
    Column("first_at", "最早", "FIRST_AT"),
    Column("last_at", "最近", "LAST_AT"),
    Column("tasks", "最近的任务", "NEWEST_TASKS", show=_tasks, when=lambda item: bool(item.get("tasks"))),
)


@click.group()
def failure() -> None:
    """See what fails: attempts that failed in the same way are one group.

    Example: taskmill failure list
    """


@failure.command("list")
@click.option("--kind", default=None, help="Only of this kind.")
@click.option("--queue", default=None, help="Only what happened in this queue.")
@click.option("--since", default=None, metavar="TIME", help="Only what failed at or after this time, ISO 8601.")
@click.option("--cursor", default=None, help="`next_cursor` of the page before.")
@click.option(
    "--page-size",
    type=click.IntRange(1, c.PAGE_SIZE_MAX),
    default=None,
    help=f"Items per page, {c.PAGE_SIZE_DEFAULT} unless told.",
)
@output_option
@remote
def list_failures(api: Api, *, since: str | None, output: Output, **query: Any) -> None:
    """List groups of failures, what failed last first.

    Example: taskmill failure list --kind mail.send --since 2030-01-31T08:00+08:00
    """
    emit(api.get("/failures", since=timestamp(since, "--since"), **query), output, COLUMNS, name="fingerprint")


@failure.command()
@click.argument("fingerprint")
@output_option
@remote
def show(api: Api, fingerprint: str, output: Output) -> None:
    """Show one group of failures with the newest tasks that failed so.

    Example: taskmill failure show 3f6f0c5a1b2d4e88
    """
    found = api.get(f"/failures/{segment(fingerprint)}")
    if output in {"table", "wide"}:
        record(found, DETAIL)
    else:
        emit(found, output, DETAIL, name="fingerprint")
