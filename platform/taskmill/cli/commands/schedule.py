"""`taskmill schedule`: timetables that submit tasks."""

from __future__ import annotations

from typing import Any

import rich_click as click

from taskmill import constants as c
from taskmill.cli import phrases
from taskmill.cli.arguments import compact, read_args, seconds, usage
from taskmill.cli.batch import each
from taskmill.cli.failure import RemoteError
from taskmill.cli.language import in_language, words
from taskmill.cli.output import Column, Output, age, confirm, duration, emit, output_option, record, say
from taskmill.cli.rest import Api, paged, remote, segment
from taskmill.errors import Code

COLUMNS = (
    Column("name", "计划", "NAME"),
    Column("kind", "类型", "KIND", rank=2),
    Column("cron", "CRON", "CRON"),
    Column("interval_s", "间隔", "EVERY", show=duration),
    Column("timezone", "时区", "TIMEZONE", rank=3),
    Column("paused", "已暂停", "PAUSED"),
    Column("next_fire_at", "下次", "NEXT", show=age),
    Column("last_fire_at", "上次", "LAST", show=age, rank=1),
    Column("missed_count", "错过", "MISSED", rank=4),
    Column("queue", "队列", "QUEUE", wide=True),
    Column("source", "来源", "SOURCE", wide=True),
    Column("id", "编号", "ID", wide=True),
    Column("last_task_id", "上次的任务", "LAST_TASK", wide=True),
    Column("last_error", "错误", "ERROR", rank=5),
)
DETAIL = (
    Column("id", "编号", "ID"),
    *(column for column in COLUMNS if column.path not in {"id", "last_error"}),
    Column("priority", "优先级", "PRIORITY"),
    Column("catch_up_s", "补跑上限", "CATCH_UP", show=duration),
    Column("created_by", "创建者", "CREATED_BY"),
    Column("created_at", "创建于", "CREATED_AT"),
    Column("args", "参数", "ARGS"),
    Column("last_error", "错误", "ERROR"),
)
RUN = (Column("schedule_id", "计划", "SCHEDULE"), Column("task_id", "任务", "TASK"))
NEXT_FIRES = 5
NAMES = {"interval_s": "--every", "catch_up_s": "--catch-up"}


@click.group()
def schedule() -> None:
    """Schedules submit tasks by the clock. One is named by its name or its id.

    Example: taskmill schedule list
    """


@schedule.command("list")
@paged
@output_option
@remote
def list_schedules(api: Api, output: Output, page: int | None, page_size: int | None) -> None:
    """List schedules by name.

    Example: taskmill schedule list -o wide
    """
    emit(api.get("/schedules", page=page, page_size=page_size), output, COLUMNS, name="name")


@schedule.command()
@click.argument("name")
@output_option
@remote
def show(api: Api, name: str, output: Output) -> None:
    """Show one schedule with its id and its args.

    Example: taskmill schedule show nightly-report -o yaml
    """
    found = api.get(_path(name))
    if output in {"table", "wide"}:
        record(found, DETAIL)
    else:
        emit(found, output, COLUMNS, name="name")


@schedule.command()
@click.argument("name")
@click.argument("kind")
@click.option("--cron", default=None, metavar="EXPRESSION", help="Five fields: minute hour day month weekday.")
@click.option("--every", default=None, metavar="DURATION", help="A fixed distance instead: 30s, 5m, 2h.")
@click.option("--timezone", default="UTC", show_default=True, help="Zone of the cron expression.")
@click.option("--args", "args", default=None, metavar="JSON|@FILE|-", help="Arguments of every task.")
@click.option("--queue", default=None, help="Queue; default: the kind's.")
@click.option("--priority", type=click.IntRange(1, 4), default=None, help="1 runs first; default: the kind's.")
@click.option("--catch-up", default=None, metavar="DURATION", help="How late a missed fire is still made up for.")
@click.option(
    "--replace", is_flag=True, help="Replace one of this name; its pause stays, and its next fire if the times do."
)
@output_option
@remote
def create(
    api: Api,
    name: str,
    kind: str,
    *,
    every: str | None,
    args: str | None,
    catch_up: str | None,
    replace: bool,
    output: Output,
    **plain: Any,
) -> None:
    """Make the schedule NAME that submits a task of KIND. To change one, say it anew, whole, with --replace.

    Example: taskmill schedule create nightly-report http.request --cron '0 8 * * *' --timezone Asia/Shanghai --args '{"url": "https://example.org"}'
    """
    if (plain["cron"] is None) == (every is None):
        raise usage(phrases.CRON_OR_EVERY)
    request = {
        "name": name,
        "kind": kind,
        "interval_s": seconds(every, "--every"),
        "args": read_args(args),
        "catch_up_s": seconds(catch_up, "--catch-up"),
        **plain,
    }
    api.names = NAMES
    try:
        made = api.post("/schedules", compact(request))
    except RemoteError as error:
        if not replace or error.code is not Code.SCHEDULE_EXISTS:
            raise
        made = api.call("PUT", _path(name), body=compact(request))
    emit(made, output, COLUMNS, name="name")


@schedule.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@output_option
@remote
@click.pass_context
def pause(ctx: click.Context, api: Api, names: tuple[str, ...], output: Output) -> None:
    """Let schedules fire no more.

    Example: taskmill schedule pause nightly-report
    """
    ctx.exit(each(names, lambda name: api.post(f"{_path(name)}/pause"), output, COLUMNS, name="name"))


@schedule.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@output_option
@remote
@click.pass_context
def resume(ctx: click.Context, api: Api, names: tuple[str, ...], output: Output) -> None:
    """Let schedules fire again; what lay in the pause is never made up for.

    Example: taskmill schedule resume nightly-report
    """
    ctx.exit(each(names, lambda name: api.post(f"{_path(name)}/resume"), output, COLUMNS, name="name"))


@schedule.command()
@click.argument("name")
@output_option
@remote
def run(api: Api, name: str, output: Output) -> None:
    """Submit the task of a schedule at once; its timetable does not change.

    Example: taskmill schedule run nightly-report -o name
    """
    emit(api.post(f"{_path(name)}/run"), output, RUN, name="task_id")


@schedule.command("next")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, c.NEXT_FIRES_MAX), default=NEXT_FIRES, show_default=True, help="How many.")
@output_option
@remote
def next_fires(api: Api, name: str, count: int, output: Output) -> None:
    """Tell the times of the next fires.

    Example: taskmill schedule next nightly-report --count 10
    """
    found = api.get(f"{_path(name)}/next", count=count)
    if output in {"json", "yaml"}:
        emit(found, output, ())
        return
    fires = found["items"] if isinstance(found, dict) else found
    for fire in fires:
        click.echo(fire)
    if api.get(_path(name))["paused"]:
        say(in_language(phrases.NEXT_OF_PAUSED(name=name)), err=True)


@schedule.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@remote
@click.pass_context
def delete(ctx: click.Context, api: Api, names: tuple[str, ...], yes: bool, output: Output) -> None:
    """Remove schedules; the tasks they made stay.

    Example: taskmill schedule delete nightly-report --yes
    """
    if not yes:
        confirm(words(f"删除 {', '.join(names)}？", f"Delete {', '.join(names)}?"))
    ctx.exit(each(names, lambda name: api.call("DELETE", _path(name)), output, COLUMNS, name="name"))


def _path(name: str) -> str:
    return f"/schedules/{segment(name)}"
