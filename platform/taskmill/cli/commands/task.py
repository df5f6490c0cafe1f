"""`taskmill task`: submit, read, cancel and retry tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from taskmill import constants as c
from taskmill.cli import phrases
from taskmill.cli.arguments import compact, parse_json, read_args, read_tasks, seconds, timestamp
from taskmill.cli.batch import each
from taskmill.cli.commands import task_watch
from taskmill.cli.commands.task_columns import ACCEPTED, ATTEMPTS, COLUMNS, DETAIL, EXPLAIN, RESULT, STATE
from taskmill.cli.commands.task_order import NAMES as ORDER_NAMES
from taskmill.cli.commands.task_order import order_of, order_options
from taskmill.cli.language import in_language, words
from taskmill.cli.output import Column, Output, emit, output_option, record, say
from taskmill.cli.rest import Api, paged, remote, segment
from taskmill.cli.unique_options import NAMES as UNIQUE_NAMES
from taskmill.cli.unique_options import unique_of, unique_options
from taskmill.ids import as_id
from taskmill.states import State
from taskmill.text.similar import did_you_mean

# 接口的字段 → 这里的选项：错误说的是用户敲的东西
NAMES = {
    **UNIQUE_NAMES,
    **ORDER_NAMES,
    "delay_s": "--in",
    "expires_at": "--expires",
    "timeout_s": "--timeout",
    "concurrency_key": "--concurrency-key",
    "fairness_key": "--fairness-key",
    "tags": "--tag",
}


@click.group()
def task() -> None:
    """Submit tasks and follow them. A task is named by its id.

    Example: taskmill task submit http.request --args '{"url": "https://example.org"}' --wait
    """


@task.command()
@click.argument("kind")
@click.option("--args", "args", default=None, metavar="JSON|@FILE|-", help="Arguments: JSON, a file, or standard input.")
@click.option("--queue", default=None, help="Queue; default: the kind's.")
@click.option("--priority", type=click.IntRange(1, 4), default=None, help="1 runs first; default: the kind's.")
@click.option("--at", "run_at", default=None, metavar="TIME", help="Not before this time, ISO 8601.")
@click.option("--in", "delay", default=None, metavar="DURATION", help="Not before this long from now: 30s, 5m, 2h.")
@click.option("--expires", default=None, metavar="TIME", help="Give it up if it has not started by then.")
@click.option("--max-attempts", type=click.IntRange(min=1), default=None, help="Attempts before it is discarded.")
@click.option("--timeout", default=None, metavar="DURATION", help="Longest run of one attempt.")
@click.option("--tag", "tags", multiple=True, help="A tag to find it by; repeatable.")
@click.option("--meta", default=None, metavar="JSON", help="Notes of your own, a JSON object.")
@click.option("--kind-version", "version", type=click.IntRange(min=1), default=None, help="Version of the kind.")
@click.option("--concurrency-key", default=None, help="Counts against the queue's limits of keys.")
@click.option("--fairness-key", default=None, help="Takes turns with other keys of its queue and priority.")
@unique_options
@order_options
@click.option("--wait", is_flag=True, help="Follow it until it is finished, as `task watch` does.")
@click.option("--wait-timeout", default=None, metavar="DURATION", help="With --wait: give up following, exit code 124.")
@output_option
@remote
@click.pass_context
def submit(
    ctx: click.Context,
    api: Api,
    kind: str,
    *,
    args: str | None,
    run_at: str | None,
    delay: str | None,
    expires: str | None,
    timeout: str | None,
    tags: tuple[str, ...],
    meta: str | None,
    wait: bool,
    wait_timeout: str | None,
    output: Output,
    **plain: Any,
) -> None:
    """Submit one task of KIND; once this returns it is stored and will run.

    Example: taskmill task submit http.request --args '{"url": "https://example.org"}' --in 5m --tag nightly
    """
    patience = seconds(wait_timeout, "--wait-timeout")
    ruled = unique_of(plain) | order_of(plain)
    request = compact(
        {
            "kind": kind,
            "args": read_args(args),
            "run_at": timestamp(run_at, "--at"),
            "delay_s": seconds(delay, "--in"),
            "expires_at": timestamp(expires, "--expires"),
            "timeout_s": seconds(timeout, "--timeout"),
            "tags": list(tags) or None,
            "meta": None if meta is None else parse_json(meta, "--meta"),
            **plain,
        }
    )
    api.names = NAMES
    accepted = api.post("/tasks", request | ruled)
    if wait or accepted["duplicate"]:
        say(_told(accepted), err=True)
    if wait:
        _follow(ctx, api, accepted["id"], patience, output)
    else:
        emit(accepted, output, ACCEPTED)


@task.command("batch")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE|-")
@output_option
@remote
def batch(api: Api, file: Path, output: Output) -> None:
    """Submit many tasks, all or none: FILE holds one task per line as JSON, or one JSON array of them.

    Example: taskmill task batch tasks.jsonl -o name
    """
    tasks = read_tasks(file)
    emit(api.post("/tasks/batch", {"tasks": tasks}), output, ACCEPTED)


@task.command("list")
@click.option("--queue", default=None, help="Only this queue.")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in State]), help="Repeatable.")
@click.option("--kind", default=None, help="Only this kind.")
@click.option("--tag", default=None, help="Only with this tag.")
@click.option("--schedule", default=None, metavar="NAME|ID", help="Only those that this schedule made.")
@click.option("--after", default=None, metavar="TIME", help="Made at or after this time, ISO 8601.")
@click.option("--before", default=None, metavar="TIME", help="Made before this time.")
@click.option("--cursor", default=None, help="`next_cursor` of the page before; nothing is counted then.")
@paged
@output_option
@remote
def list_tasks(
    api: Api,
    *,
    states: tuple[str, ...],
    schedule: str | None,
    after: str | None,
    before: str | None,
    output: Output,
    **query: Any,
) -> None:
    """List tasks, live and finished, the newest first.

    Example: taskmill task list --state discarded --state retryable --queue emails -o wide
    """
    query["created_after"], query["created_before"] = timestamp(after, "--after"), timestamp(before, "--before")
    query["schedule_id"] = None if schedule is None else _schedule_id(api, schedule)
    found = api.get("/tasks", state=",".join(states) or None, **query)
    emit(found, output, COLUMNS)
    if output in {"table", "wide"} and not found["items"]:
        _doubt(api, "/kinds", "kind", query["kind"])
        _doubt(api, "/queues", "name", query["queue"])


def _schedule_id(api: Api, schedule: str) -> str:
    """任务上记的是编号；名字换成编号，已删除的计划仍可按编号查。"""
    return schedule if as_id(schedule) is not None else api.get(f"/schedules/{segment(schedule)}")["id"]


def _doubt(api: Api, path: str, field: str, name: str | None) -> None:
    """什么也没有：也许名字写错了。"""
    if name is None:
        return
    known = [str(item[field]) for item in api.get(path, page_size=c.PAGE_SIZE_MAX)["items"]]
    if name not in known:
        say(in_language(phrases.NOT_KNOWN(name=name, hint=did_you_mean(name, known))).rstrip(), err=True)


@task.command()
@click.argument("task_id", metavar="ID")
@output_option
@remote
def show(api: Api, task_id: str, output: Output) -> None:
    """Show one task with its args, its last error and, while it waits, what it waits for.

    Example: taskmill task show 0190a5c8-7d3f-7aaa-8000-000000000001 -o yaml
    """
    _one(api.get(f"/tasks/{segment(task_id)}"), output, DETAIL)


@task.command()
@click.argument("task_id", metavar="ID")
@output_option
@remote
def explain(api: Api, task_id: str, output: Output) -> None:
    """Say why a task is not running, each reason with the command that is the next step; or what became of it.

    Example: taskmill task explain 0190a5c8-7d3f-7aaa-8000-000000000001
    """
    _one(api.get(f"/tasks/{segment(task_id)}/explain"), output, EXPLAIN)


@task.command()
@click.argument("task_id", metavar="ID")
@output_option
@remote
def attempts(api: Api, task_id: str, output: Output) -> None:
    """List the attempts that did not complete, with the newest traceback; -o wide prints all of them.

    Example: taskmill task attempts 0190a5c8-7d3f-7aaa-8000-000000000001
    """
    found = api.get(f"/tasks/{segment(task_id)}/attempts")
    emit(found, output, ATTEMPTS, name="claim_no")
    if output in {"table", "wide"}:
        traced = [item for item in found["items"] if item.get("traceback")]
        for item in traced if output == "wide" else traced[-1:]:
            say(
                words(f"\n第 {item['attempt']} 次尝试：", f"\nattempt {item['attempt']}:")
                + f"\n{item['traceback'].rstrip()}"
            )


@task.command()
@click.argument("task_id", metavar="ID")
@output_option
@remote
def result(api: Api, task_id: str, output: Output) -> None:
    """Print what a finished task returned, or the error that ended it; exit code 4 while it is not finished.

    Example: taskmill task result 0190a5c8-7d3f-7aaa-8000-000000000001 -o json
    """
    _one(api.get(f"/tasks/{segment(task_id)}/result"), output, RESULT)


@task.command()
@click.argument("task_id", metavar="ID")
@click.option("--timeout", default=None, metavar="DURATION", help="Give up following after this; exit code 124.")
@output_option
@remote
@click.pass_context
def watch(ctx: click.Context, api: Api, task_id: str, timeout: str | None, output: Output) -> None:
    """Follow a task until it is finished, then print it; exit code 0 if it completed, 1 if it did not.

    Example: taskmill task watch 0190a5c8-7d3f-7aaa-8000-000000000001 --timeout 2m
    """
    _follow(ctx, api, task_id, seconds(timeout, "--timeout"), output)


@task.command()
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@output_option
@remote
@click.pass_context
def cancel(ctx: click.Context, api: Api, task_ids: tuple[str, ...], output: Output) -> None:
    """End waiting tasks at once, ask running ones to end. Several ids: exit code 6 if only some could be.

    Example: taskmill task cancel 0190a5c8-7d3f-7aaa-8000-000000000001
    """
    ctx.exit(each(task_ids, lambda item: api.post(f"/tasks/{segment(item)}/cancel"), output, STATE))


@task.command()
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@output_option
@remote
@click.pass_context
def retry(ctx: click.Context, api: Api, task_ids: tuple[str, ...], output: Output) -> None:
    """Run finished tasks again, under the same ids and with fresh budgets.

    Example: taskmill task list --state discarded -o name | xargs taskmill task retry
    """
    ctx.exit(each(task_ids, lambda item: api.post(f"/tasks/{segment(item)}/retry"), output, STATE))


@task.command()
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@output_option
@remote
@click.pass_context
def skip(ctx: click.Context, api: Api, task_ids: tuple[str, ...], output: Output) -> None:
    """Let the sequences go on that these failed tasks stop; the tasks stay failed.

    Example: taskmill task skip 0190a5c8-7d3f-7aaa-8000-000000000001
    """
    ctx.exit(each(task_ids, lambda item: api.post(f"/tasks/{segment(item)}/skip"), output, STATE))


def _told(accepted: Mapping[str, Any]) -> str:
    if accepted["duplicate"]:
        return words(f"重复：已有任务 {accepted['id']}", f"a duplicate: the task {accepted['id']} is there")
    return words(f"已提交 {accepted['id']}", f"submitted {accepted['id']}")


def _one(found: dict[str, Any], output: Output, rows: tuple[Column, ...]) -> None:
    if output in {"table", "wide"}:
        record(found, rows)
    else:
        emit(found, output, rows)


def _follow(ctx: click.Context, api: Api, task_id: str, timeout_s: float | None, output: Output) -> None:
    found, code = task_watch.follow(api, task_id, timeout_s)
    _one(found, output, DETAIL)
    ctx.exit(code)
