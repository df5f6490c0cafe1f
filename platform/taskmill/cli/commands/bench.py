"""`taskmill bench`: measure this machine or the configured servers."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import rich_click as click
import uvloop
from rich.console import Console
from rich.table import Table

from taskmill.cli import phrases
from taskmill.cli.language import in_language, log_language
from taskmill.log import configure_logging
from taskmill.settings import load_settings

SHORT = {"drain": 10_000, "submit": 10_000, "single": 3_200, "latency": 500}


@click.command()
@click.argument("workload", type=click.Choice(["all", *SHORT]), default="all")
@click.option("--tasks", type=click.IntRange(min=100), default=None, help="Tasks per run.")
@click.option("--concurrency", type=click.IntRange(min=1), default=None, help="Tasks that the worker runs at once.")
@click.option("--runs", type=click.IntRange(1, 20), default=3, show_default=True, help="Runs; medians are reported.")
@click.option("--waiting", type=click.IntRange(min=0), default=0, help="Tasks waiting in another queue meanwhile.")
@click.option("--short", is_flag=True, help="One small run of each: does it work, not how fast it is.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form of the report.")
def bench(
    workload: str, tasks: int | None, concurrency: int | None, runs: int, waiting: int, short: bool, output: str
) -> None:
    """Measure on real servers: embedded ones, or those of TASKMILL_DATABASE_URL and TASKMILL_BROKER_URL.

    Example: taskmill bench drain --tasks 100000 --concurrency 1000 -o json
    """
    import msgspec

    from taskmill.bench.run import run

    configure_logging(level="WARNING", language=log_language())
    names = list(SHORT) if workload == "all" else [workload]
    reports: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for name in names:
            work = run(
                load_settings(),
                name,
                tasks=SHORT[name] if short else tasks,
                concurrency=concurrency,
                runs=1 if short else runs,
                waiting=waiting,
            )
            reports.append(runner.run(work))
            if output == "table":
                _show(reports[-1])
    if output == "json":
        report = reports[0] if len(reports) == 1 else reports
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")


def _show(report: dict[str, Any]) -> None:
    machine = report["machine"]
    table = Table(title=in_language(phrases.BENCH_TITLE(workload=report["workload"], **machine)))
    table.add_column(in_language(phrases.FIGURE))
    table.add_column(in_language(phrases.MEDIAN), justify="right")
    for key, value in report.items():
        if isinstance(value, int | float):
            table.add_row(key, f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
