"""`taskmill node`: worker processes."""

from __future__ import annotations

import rich_click as click

from taskmill.cli import phrases
from taskmill.cli.language import words
from taskmill.cli.output import Column, Output, age, emit, output_option, say
from taskmill.cli.rest import Api, paged, remote

COLUMNS = (
    Column("id", "编号", "ID"), Column("state", "状态", "STATE"), Column("hostname", "主机", "HOST", rank=1),
    Column("pid", "进程号", "PID", rank=2), Column("running", "执行中", "RUNNING"),
    Column("concurrency", "并发", "CONCURRENCY", rank=4), Column("queues", "队列", "QUEUES", rank=3),
    Column("kinds", "类型", "KINDS", wide=True), Column("version", "版本", "VERSION", wide=True),
    Column("lease_until", "租约到", "LEASE", show=age, wide=True), Column("death", "死因", "DEATH", wide=True),
    Column("started_at", "启动于", "AGE", show=age),
)  # fmt: skip


@click.group()
def node() -> None:
    """Worker processes: what each runs, and whether it lives.

    Example: taskmill node list
    """


@node.command("list")
@paged
@output_option
@remote
def list_nodes(api: Api, output: Output, page: int | None, page_size: int | None) -> None:
    """List worker processes, the living first; dead ones stay for an hour. The table is followed by a word if no scheduler lives.

    Example: taskmill node list -o wide
    """
    emit(api.get("/workers", page=page, page_size=page_size), output, COLUMNS)
    # 给人看的才多问一句：任务不动的原因常常不在工作进程
    if output in {"table", "wide"} and api.get("/stats").get("schedulers") == 0:
        say(words(phrases.NO_SCHEDULER.zh, phrases.NO_SCHEDULER.en), err=True)
