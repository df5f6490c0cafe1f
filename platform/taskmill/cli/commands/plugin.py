"""`taskmill plugin`: which plugins the API has found, and the kinds of tasks there are."""

from __future__ import annotations

from collections.abc import Mapping

import rich_click as click

from taskmill.cli.language import words
from taskmill.cli.output import Column, Output, age, duration, emit, output_option
from taskmill.cli.rest import Api, paged, remote


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
    Column("queue", "队列", "QUEUE"),
    Column("max_attempts", "尝试上限", "MAX_ATTEMPTS", rank=3),
    Column("timeout_s", "时限", "TIMEOUT", show=duration, rank=2),
    Column("priority", "优先级", "PRIORITY", wide=True),
    Column("executor", "执行器", "EXECUTOR", wide=True),
    Column("unique", "唯一", "UNIQUE", wide=True),
    Column("seen_at", "最近登记", "SEEN", show=age, wide=True),
    Column("summary", "说明", "SUMMARY", rank=1),
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
    """List the kinds of tasks that any process has registered.

    Example: taskmill plugin kinds -o name
    """
    emit(api.get("/kinds", page=page, page_size=page_size), output, KINDS, name="kind")
