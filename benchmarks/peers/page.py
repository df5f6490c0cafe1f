# ruff: noqa: INP001  单个脚本，不是包
"""The report of the peers as a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TITLES = {
    "single": "single submits/s, 32 callers",
    "batch": "batch submits/s, 1,000 a call",
    "drain-10": "drain at concurrency 10, tasks/s",
    "drain-1000": "drain at concurrency 1,000, tasks/s",
}
STORES = {"postgresql": "PostgreSQL", "redis": "Redis protocol"}
NONE = "–"


def page(report: dict[str, Any], picture: str | None) -> str:
    """Return the page; `picture` is the file of the chart beside it."""
    parts = [
        _head(report),
        [f"![tasks per second, by system]({picture})"] if picture else [],
        _table(report),
        _systems(report),
    ]
    parts += [_servers(report), [f"- {each}" for each in _errors(report)]]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _head(report: dict[str, Any]) -> list[str]:
    about = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    load = f"load {report['load_before']} before, {report['load_after']} after"
    lines = ["# Taskmill beside other systems", "", f"Medians of {report['runs']} runs ({about}; {load})."]
    if report["short"]:
        lines += ["", "**A short run: it shows that everything works; its figures say nothing.**"]
    lines += [
        "", "Servers, submitters and workers share these cores, one system at a time, in turn.",
        "Every task carries the same three arguments and does nothing but mark that it ran: a run in which one did not run, or in which the store",
        "still holds one at the end, counts as failed. In brackets: the slowest and the fastest run.",
    ]  # fmt: skip
    return lines


def _table(report: dict[str, Any]) -> list[str]:
    lines = ["| | keeps tasks in | " + " | ".join(TITLES.values()) + " |", "|---|---|" + "---:|" * len(TITLES)]
    for system in report["systems"].values():
        cells = " | ".join(_cell(system["figures"].get(measure)) for measure in TITLES)
        lines.append(f"| {system['system']} | {STORES[system['store']]} | {cells} |")
    return lines


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return NONE
    return f"{figure['tasks_per_second']:,.0f} ({figure['least']:,.0f}–{figure['most']:,.0f})"


def _systems(report: dict[str, Any]) -> list[str]:
    lines = ["| | versions | durable | tuned | tasks a run |", "|---|---|---|---|---|"]
    for system in report["systems"].values():
        versions = ", ".join(f"{name.rpartition('/')[2]} {number}" for name, number in system["versions"].items())
        sizes = ", ".join(f"{measure} {figure['n']:,}" for measure, figure in system["figures"].items())
        lines.append(f"| {system['system']} | {versions} | {system['durable']} | {system['tuned']} | {sizes or NONE} |")
    return lines


def _servers(report: dict[str, Any]) -> list[str]:
    said = ", ".join(f"{key} {value}" for key, value in report.get("servers", {}).items())
    return [
        f"Servers: {said}.",
        "With `appendfsync everysec` Valkey may lose the last second when the machine goes down; PostgreSQL with fsync and synchronous_commit on",
        "loses nothing that it acknowledged. Rows of both kinds are not the same promise.",
    ]


def _errors(report: dict[str, Any]) -> Iterator[str]:
    for each in report["errors"]:
        yield f"**failed**: {each['system']} {each['measure']}: {' '.join(each['error'].split())[:300]}"
