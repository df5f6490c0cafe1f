"""`taskmill bench`: measure this machine or the configured servers."""

from __future__ import annotations

import asyncio
import sys

import rich_click as click
import uvloop
from rich.console import Console
from rich.table import Table

from taskmill.log import configure_logging
from taskmill.settings import load_settings


@click.command()
@click.argument("workload", type=click.Choice(["drain", "submit", "single", "latency"]))
@click.option("--tasks", type=click.IntRange(min=100), default=None, help="Tasks per run.")
@click.option("--concurrency", type=click.IntRange(min=1), default=None, help="Tasks that the worker runs at once.")
@click.option("--runs", type=click.IntRange(1, 20), default=3, show_default=True, help="Runs; medians are reported.")
@click.option("--waiting", type=click.IntRange(min=0), default=0, help="Tasks waiting in another queue meanwhile.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form of the report.")
def bench(
    workload: str, tasks: int | None, concurrency: int | None, runs: int, waiting: int, output: str
) -> None:
    """Measure a workload on real servers: embedded ones, or those of TASKMILL_DATABASE_URL and TASKMILL_BROKER_URL.

    Example: taskmill bench drain --tasks 100000 --concurrency 1000 -o json
    """
    import msgspec  # noqa: PLC0415 - 命令行要快，重的模块用到才导入

    from taskmill.bench.run import run  # noqa: PLC0415

    configure_logging(level="WARNING")
    work = run(load_settings(), workload, tasks=tasks, concurrency=concurrency, runs=runs, waiting=waiting)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(work)
    if output == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
        return
    machine = report["machine"]
    table = Table(title=f"{workload}: {machine['cpu']}, {machine['cores']} cores, PostgreSQL {machine['postgres']}")
    table.add_column("figure / 指标")
    table.add_column("median / 中位数", justify="right")
    for key, value in report.items():
        if isinstance(value, int | float):
            table.add_row(key, f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
