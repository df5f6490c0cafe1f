"""What a simulation replays: tasks with their times, and the queue that they go to. Read from CSV or made by a seed."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from taskmill import constants as c
from taskmill.errors import Code, InputError
from taskmill.kube import constants as kc
from taskmill.kube import phrases
from taskmill.kube.scale.decide import ScalingSpec
from taskmill.words import Words

FIELDS = ("second", "queue", "type", "service_ms")
TAIL_S = 600.0  # 最后一个任务之后再看多久：缩容也要算进去


@dataclass(frozen=True, slots=True)
class Task:
    """One task: due at `due` seconds, runs for `service_s`; known to the database since `known` (due: not before).

    It fails `failures` times, each after `service_s`, and is tried again after a backoff.
    """

    due: float
    service_s: float
    known: float
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The queue and the cluster under a trace; times in seconds."""

    spec: ScalingSpec = field(default_factory=ScalingSpec)
    concurrency: int = 4
    boot_s: tuple[float, float] = (20.0, 34.0)  # Pod 启动时间在此之间均匀分布
    grace_s: float = 30.0  # 没有排空协议时，SIGTERM 到 SIGKILL
    drain_timeout_s: float = 600.0
    knee: int | None = None  # 数据库撑得住的槽数；超过后每个任务都变慢
    outages: tuple[tuple[float, float], ...] = ()  # 读不到数字的时段


@dataclass(frozen=True, slots=True)
class Trace:
    """A named sequence of tasks in order of `due`, for `duration_s` seconds."""

    name: str
    tasks: tuple[Task, ...]
    duration_s: float
    setup: Setup


def make(name: str, tasks: Iterable[Task], setup: Setup, duration_s: float | None = None) -> Trace:
    """Return a trace with its tasks in order; without a duration it ends some time after the last task."""
    ordered = tuple(sorted(tasks, key=lambda task: task.due))
    last = ordered[-1].due if ordered else 0.0
    return Trace(name, ordered, duration_s or last + TAIL_S, setup)


def read(path: Path, setup: Setup, queue: str | None = None) -> Trace:
    """Read a CSV with the columns second, queue, type, service_ms, and optionally known (when it was submitted) and failures.

    `queue` takes the rows of one queue only. Raises InputError that names the row.
    """
    tasks: list[Task] = []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        missing = [name for name in FIELDS if name not in (rows.fieldnames or ())]
        if missing:
            raise InputError(Code.USAGE, reason=phrases.NO_COLUMN(file=path.name, names=", ".join(missing)))
        for row in rows:
            if queue is not None and row["queue"] != queue:
                continue
            try:
                tasks.append(_task(row))
            except (TypeError, ValueError):
                raise InputError(Code.USAGE, reason=phrases.NOT_NUMBERS(file=path.name, line=rows.line_num)) from None
            except _OutsideError as error:
                raise InputError(
                    Code.USAGE, reason=phrases.LINE_OUTSIDE(file=path.name, line=rows.line_num, error=error.words)
                ) from None
    if not tasks:
        raise InputError(Code.USAGE, reason=phrases.NO_TASKS(file=path.name))
    return make(path.stem, tasks, setup)


class _OutsideError(Exception):
    """一个数超出了范围。"""

    def __init__(self, words: Words) -> None:
        super().__init__(words.en)
        self.words = words


def _task(row: dict[str, str]) -> Task:
    due = _within("second", float(row["second"]), 0, kc.TRACE_MAX_S)
    service = _within("service_ms", float(row["service_ms"]), 0, c.TIMEOUT_MAX_S * 1000) / 1000
    known = _within("known", float(row.get("known") or due), -c.DELAY_MAX_S, due)
    failures = _within("failures", int(row.get("failures") or 0), 0, c.MAX_ATTEMPTS_LIMIT - 1)
    return Task(due, service, known, int(failures))


def _within(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:  # nan 也不在任何范围之内
        raise _OutsideError(phrases.OUTSIDE(name=name, value=value, low=low, high=high))
    return value


def write(trace: Trace, path: Path, note: str) -> None:
    """Write a trace as CSV, with a comment that says where it comes from."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {note}\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*FIELDS, "known", "failures"])
        for task in trace.tasks:
            service = round(task.service_s * 1000)
            out.writerow([f"{task.due:.1f}", trace.name, "task", service, f"{task.known:.1f}", task.failures])
