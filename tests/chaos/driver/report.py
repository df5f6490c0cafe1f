"""What is said at the end: the table of faults, and for each breach the tasks, journal lines and faults around it."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.chaos.driver.audit_roles import growth, near, waited_for_cores
from tests.chaos.driver.facts import Breach, Facts

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "faults-measured.md"
SHOWN = 4  # 每条规矩最多细说几处
LINES = 8
LOST, DOUBLED, BURNT = "0 lost", "0 doubled", "0 attempts burnt"
HEAD = """# Faults, measured

Written by `make test/chaos ARGS="--minutes {minutes:g} {seeds} --write"`. Real processes of the command line (2 api, 3 workers, 2 schedulers) on a PostgreSQL with fsync and a
Valkey of their own, under a mixed load over the REST API; two faults at a time. Seconds count from the moment at which the servers could be reached again until a task had
been submitted through every api and had run on every worker, and every loop of every scheduler had come round. The promise is 20 s, and 10 s more for a process that
was started meanwhile; what the roles and the driver waited for a core of the machine, which other work had, does not count.

{machine}

{totals}

| fault | times | lost | doubled | burnt | serving again, median | slowest | slowest, waiting for a core taken off |
|---|---:|---:|---:|---:|---:|---:|---:|
"""


@dataclass(slots=True)
class Row:
    """What happened to one fault over all runs."""

    times: int = 0
    seconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)  # 其中不是等处理器的
    bad: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    never: int = 0


def table(runs: Sequence[tuple[Facts, Sequence[Breach]]]) -> dict[str, Row]:
    """Return a row for each fault; of two that overlap, both get what is measured."""
    rows: dict[str, Row] = defaultdict(Row)
    for facts, breaches in runs:
        for event in facts.events:
            row = rows[event.name]
            row.times += 1
            served = [one for cause, one in facts.served if cause is not None and cause.round == event.round]
            done = [(one.seconds, one.seconds - waited_for_cores(facts, one)) for one in served if one.seconds is not None]
            row.never += len(done) < len(served)
            if done:
                row.seconds.append(max(seconds for seconds, _ in done))
                row.own.append(max(own for _, own in done))
        for breach in breaches:
            for name in {event.name for event in near(facts.events, breach.at)} if breach.at is not None else ():
                rows[name].bad[breach.bar] += 1
    return dict(sorted(rows.items()))


def markdown(rows: dict[str, Row]) -> str:
    """Return the lines of the table."""
    out: list[str] = []
    for name, row in rows.items():
        found = (median(row.seconds), max(row.seconds), max(row.own)) if row.seconds else ()
        middle, most, own = (f"{each:.1f} s" for each in found) if found else ("–", "–", "–")
        if row.never:
            most = own = f"never ({row.never} times)"
        bad = " | ".join(str(row.bad.get(bar, 0)) for bar in (LOST, DOUBLED, BURNT))
        out.append(f"| {name} | {row.times} | {bad} | {middle} | {most} | {own} |")
    return "\n".join(out) + "\n"


def machine() -> str:
    """Name the machine that the figures are of, and the day."""
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"Machine: {os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, Python {platform.python_version()}; {day}."


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def totals(runs: Sequence[tuple[Facts, Sequence[Breach]]]) -> str:
    """Sum up the runs in a sentence."""
    acks = sum(line["event"] in {"ack", "child"} for facts, _ in runs for line in facts.lines)
    faults = sum(len(facts.events) for facts, _ in runs)
    slow = max(facts.meter.factor() for facts, _ in runs)
    calm = max((facts.calm_s for facts, _ in runs if facts.calm_s is not None), default=None)
    found = {bar: sum(breach.bar == bar for _, breaches in runs for breach in breaches) for bar in (LOST, DOUBLED, BURNT)}
    leaves = [life.ended - life.asked_at for facts, _ in runs for life in facts.lives if life.asked_at and life.ended]
    grown = max((growth(life) for facts, _ in runs for life in facts.lives), default=0.0)
    return (
        f"{faults} faults, {acks:,} acknowledged tasks: {found[LOST]} lost, {found[DOUBLED]} doubled, {found[BURNT]} attempts burnt. "
        f"SIGTERM ended {len(leaves)} roles, the slowest after {max(leaves, default=0):.1f} s. "
        f"{_slowest(runs)}All tasks final {'never' if calm is None else f'{calm:.0f} s'} after the load ended. "
        f"Memory of a role grew by {grown:.0f} MB at most. Other work slowed the machine down by a factor of {slow:.1f}."
    )


def _slowest(runs: Sequence[tuple[Facts, Sequence[Breach]]]) -> str:
    """Name the longest time to serve again, and how much of it went by without a core to run on."""
    all_of = [(one.seconds, facts, one) for facts, _ in runs for _, one in facts.served if one.seconds is not None]
    if not all_of:
        return ""
    seconds, facts, one = max(all_of, key=lambda each: each[0])
    fresh = ", with a process that had just been started" if one.fresh else ""
    return f"Slowest to serve again: {one.what} after {seconds:.1f} s, {waited_for_cores(facts, one):.1f} s of them waiting for a core{fresh}. "


def write(runs: Sequence[tuple[Facts, Sequence[Breach]]], minutes: float, seeds: Sequence[int]) -> None:
    """Write the page."""
    words = " ".join(f"--seed {seed}" for seed in seeds)
    head = HEAD.format(minutes=minutes, seeds=words, machine=machine(), totals=totals(runs))
    PAGE.write_text(head + markdown(table(runs)), encoding="utf-8")


def explain(facts: Facts, breaches: Sequence[Breach]) -> str:
    """Return what a person needs to find the cause."""
    by_bar: dict[str, list[Breach]] = defaultdict(list)
    for breach in breaches:
        by_bar[breach.bar].append(breach)
    out: list[str] = []
    for bar, found in by_bar.items():
        out.append(f"\nBROKEN: {bar} ({len(found)} times)")
        for breach in found[:SHOWN]:
            out += _one(facts, breach)
        if len(found) > SHOWN:
            out.append(f"  … and {len(found) - SHOWN} more")
    return "\n".join(out)


def _one(facts: Facts, breach: Breach) -> list[str]:
    zero = facts.events[0].begin if facts.events else 0.0
    when = "" if breach.at is None else f"[{breach.at - zero:+.1f} s] "
    out = [f"  {when}{breach.text}"]
    if breach.at is not None:
        out += [
            f"      fault: {event.name} ({event.word}) {event.begin - zero:+.1f} … {event.end - zero:+.1f} s"
            for event in near(facts.events, breach.at)
        ]
    for task_id in breach.ids:
        lines = [line for line in facts.lines if line.get("id") == task_id]
        out += [f"      task {task_id}"]
        for line in lines[:LINES]:
            shown = {key: value for key, value in line.items() if key not in {"event", "mono", "wall", "id", "file"}}
            out.append(f"        {line['mono'] - zero:+8.2f} s {line['event']} {shown} in {line['file']}")
        out += [f"        row: {row}" for row in (*facts.tasks, *facts.history) if row["id"] == task_id]
        out += [f"        attempt: {row}" for row in facts.attempts if row["task_id"] == task_id]
    return out
