"""`taskmill queue`: what waits where, pause and resume, settings."""

from __future__ import annotations

from collections.abc import Collection

import rich_click as click

from taskmill.cli import phrases, queue_options
from taskmill.cli.arguments import compact, usage
from taskmill.cli.batch import each
from taskmill.cli.language import words
from taskmill.cli.output import Column, Output, age, confirm, duration, emit, output_option
from taskmill.cli.rest import Api, paged, remote, segment

_LIVE = (
    Column("name", "队列", "NAME"),
    Column("paused", "已暂停", "PAUSED"),
    Column("live.available", "待执行", "AVAILABLE"),
    Column("live.running", "执行中", "RUNNING"),
    Column("live.scheduled", "已计划", "SCHEDULED", rank=2),
    Column("live.retryable", "待重试", "RETRYABLE", rank=1),
    Column("oldest_wait_s", "最久等待", "OLDEST", show=duration),
    Column("paused_by", "暂停者", "PAUSED_BY", wide=True),
    Column("live.held", "受限", "HELD", wide=True),
    Column("live.blocked", "等别的任务", "BLOCKED", wide=True),
)
_PAUSED_FOR = Column("paused_at", "暂停于", "PAUSED_FOR", show=age, wide=True)


def _columns(given: Collection[str] = ()) -> tuple[Column, ...]:
    """`given`：刚设的那些，窄的表也要看得到。"""
    settings = (*queue_options.columns(wide=False, given=given), *queue_options.columns(wide=True, given=given))
    return (*_LIVE, *settings, _PAUSED_FOR)


COLUMNS = _columns()

PREVIEW = (
    Column("name", "队列", "NAME"),
    Column("preview.waiting", "待执行", "WAITING"),
    Column("preview.held_now", "现在受限", "HELD_NOW"),
    Column("preview.held", "将受限", "WOULD_HOLD"),
    Column("preview.released", "将放行", "WOULD_RELEASE"),
    Column(
        "preview.keys",
        "受限最多的键",
        "KEYS",
        show=lambda keys: ", ".join(f"{each['key']} ({each['held']})" for each in keys),
    ),
    Column("preview.full", "积压已满", "FULL", wide=True),
    Column("preview.until", "约到", "UNTIL"),
    Column("preview.basis", "依据", "BASIS", show=lambda basis: words(basis["zh"], basis["en"])),
)


@click.group()
def queue() -> None:
    """Queues appear with their first task, or when their policy is set.

    Example: taskmill queue list
    """


@queue.command("list")
@paged
@output_option
@remote
def list_queues(api: Api, output: Output, page: int | None, page_size: int | None) -> None:
    """List queues with their live tasks by state.

    Example: taskmill queue list -o wide
    """
    emit(api.get("/queues", page=page, page_size=page_size), output, COLUMNS, name="name")


@queue.command()
@click.argument("name")
@output_option
@remote
def show(api: Api, name: str, output: Output) -> None:
    """Show one queue.

    Example: taskmill queue show default -o json
    """
    emit(api.get(f"/queues/{segment(name)}"), output, COLUMNS, name="name")


@queue.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@output_option
@remote
@click.pass_context
def pause(ctx: click.Context, api: Api, names: tuple[str, ...], output: Output) -> None:
    """Let no further task of a queue start; running ones go on, new ones are accepted.

    Example: taskmill queue pause emails
    """
    ctx.exit(each(names, lambda name: api.post(f"/queues/{segment(name)}/pause"), output, COLUMNS, name="name"))


@queue.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@output_option
@remote
@click.pass_context
def resume(ctx: click.Context, api: Api, names: tuple[str, ...], output: Output) -> None:
    """Let the tasks of a queue start again.

    Example: taskmill queue resume emails
    """
    ctx.exit(each(names, lambda name: api.post(f"/queues/{segment(name)}/resume"), output, COLUMNS, name="name"))


@queue.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@remote
@click.pass_context
def delete(ctx: click.Context, api: Api, names: tuple[str, ...], yes: bool, output: Output) -> None:
    """Delete queues that have no live task, with their policies; finished tasks stay.

    Example: taskmill queue delete typo --yes
    """
    if not yes:
        confirm(words(f"删除 {', '.join(names)}？", f"Delete {', '.join(names)}?"))
    ctx.exit(each(names, lambda name: api.call("DELETE", f"/queues/{segment(name)}"), output, COLUMNS, name="name"))


@queue.command("set")
@click.argument("name")
@queue_options.options
@click.option("--paused/--running", default=None, help="Let no further task start, or let them start again.")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what that would do to the tasks that wait.")
@output_option
@remote
def set_policy(api: Api, name: str, *, paused: bool | None, dry_run: bool, output: Output, **given: str | None) -> None:
    """Set the policy of a queue, which is made if it is unknown; what is not given stays.

    Example: taskmill queue set emails --retention 7d --max-running 20 --rate 100/1m
    """
    change = compact({"paused": paused}) | queue_options.changes(given)
    if not change:
        raise usage(phrases.NO_POLICY)
    api.names = queue_options.NAMES
    if dry_run:
        told = api.call("PUT", f"/queues/{segment(name)}", query={"dry_run": "true"}, body=change)
        emit(told, output, PREVIEW, name="name")
        return
    made = api.call("PUT", f"/queues/{segment(name)}", body=change)
    emit(made, output, _columns(change), name="name")
