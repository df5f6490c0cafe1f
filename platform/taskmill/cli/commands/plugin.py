"""`taskmill plugin`: which plugins the API has found, and the kinds of tasks there are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import rich_click as click

from taskmill import args_schema
from taskmill import constants as c
from taskmill.cli.language import words
from taskmill.cli.output import Column, Output, age, duration, emit, output_option, record, say
from taskmill.cli.rest import Api, paged, remote, segment

LIVE = "live"


def _why(error: Mapping[str, str]) -> str:
    return words(error["zh"], error["en"])


COLUMNS = (
    Column("name", "插件", "NAME"),
    Column("version", "版本", "VERSION"),
    Column("state", "状态", "STATE"),
    Column("kinds", "类型", "KINDS"),
    Column("capabilities", "能力", "CAPABILITIES", wide=True),
    Column("distribution", "发行包", "DISTRIBUTION", wide=True),
    Column("config", "配置", "CONFIG", wide=True),
    Column("error.code", "错误", "ERROR", rank=1),
    Column("error", "说明", "REASON", show=_why, rank=2),
)
KINDS = (
    Column("kind", "类型", "KIND"),
    Column("version", "版本", "VERSION"),
    Column("plugin", "插件", "PLUGIN"),
    Column("queue", "队列", "QUEUE", rank=4),
    Column("served", "有人执行", "SERVED", when=lambda item: "served" in item),
    Column("max_attempts", "尝试上限", "MAX_ATTEMPTS", rank=3),
    Column("timeout_s", "时限", "TIMEOUT", show=duration, rank=2),
    Column("priority", "优先级", "PRIORITY", wide=True),
    Column("executor", "执行器", "EXECUTOR", wide=True),
    Column("unique", "唯一", "UNIQUE", wide=True),
    Column("seen_at", "最近登记", "SEEN", show=age, wide=True),
    Column("summary", "说明", "SUMMARY", rank=1),
)
ARGS = (
    Column("name", "参数", "ARG"),
    Column("required", "必填", "REQUIRED"),
    Column("default", "默认", "DEFAULT", rank=1),
    Column("type", "类型", "TYPE"),
    Column("description", "说明", "DESCRIPTION", rank=2),
)


@click.group()
def plugin() -> None:
    """Plugins bring the kinds of tasks.

    Example: taskmill plugin list
    """


@plugin.command("list")
@paged
@output_option
@remote
def list_plugins(api: Api, output: Output, page: int | None, page_size: int | None) -> None:
    """List the plugins that the API process found, loaded or not, and why not.

    Example: taskmill plugin list -o wide
    """
    emit(api.get("/plugins", page=page, page_size=page_size), output, COLUMNS, name="name")


@plugin.command()
@paged
@output_option
@remote
def kinds(api: Api, output: Output, page: int | None, page_size: int | None) -> None:
    """List the kinds of tasks that any process has registered; the table tells which of them a live worker serves.

    Example: taskmill plugin kinds -o name
    """
    found = api.get("/kinds", page=page, page_size=page_size)
    if output in {"table", "wide"}:
        served = _served(api)
        found["items"] = [each | {"served": f"{each['kind']}:{each['version']}" in served} for each in found["items"]]
    emit(found, output, KINDS, name="kind")


def _served(api: Api) -> set[str]:
    """活着的工作进程服务的类型；活着的排在前面，见到别的就够了。"""
    served: set[str] = set()
    for page in count(1):
        workers = api.get("/workers", page=page, page_size=c.PAGE_SIZE_MAX)["items"]
        living = [worker for worker in workers if worker["state"] == LIVE]
        served.update(kind for worker in living for kind in worker["kinds"])
        if len(living) < c.PAGE_SIZE_MAX:
            break
    return served


@plugin.command()
@click.argument("name", metavar="KIND")
@output_option
@remote
def kind(api: Api, name: str, output: Output) -> None:
    """Show one kind with its args: name, type, whether it must be given, its default; as data the JSON Schema, too.

    Example: taskmill plugin kind http.request
    """
    found = api.get(f"/kinds/{segment(name)}")
    if output not in {"table", "wide"}:
        emit(found, output, KINDS, name="kind")
        return
    record(found, KINDS)
    fields = args_schema.fields(found["args_schema"])
    click.echo()
    emit(fields, output, ARGS, name="name") if fields else say(words("没有参数", "no args"))
