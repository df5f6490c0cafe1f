"""Turns finished tasks, as the API lists them, into a trace: what a queue really had to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from taskmill.errors import Code, InputError
from taskmill.kube import constants as c
from taskmill.kube import phrases
from taskmill.kube.scale.simulate.traces import Setup, Task, Trace, make


def trace_of(queue: str, summaries: Iterable[Mapping[str, Any]]) -> Trace:
    """Return the trace of the tasks of `queue` that have run, from the first that was due (second 0).

    A task that ran more than once counts from when it was made, with the length of its last run and its failures before.
    One that ended while it waited (no worker) is left out: its last run is not the time that it took to end.
    Raises InputError if none has run, or if they span more than a simulation can replay.
    """
    ran = [each for each in summaries if each["started_at"] and each["finished_at"] and each["worker_id"]]
    if not ran:
        raise InputError(Code.USAGE, reason=phrases.NONE_HAS_RUN(queue=queue))
    begin, last = min(_due(each) for each in ran), max(_due(each) for each in ran)
    if last - begin > c.TRACE_MAX_S:
        days, most = f"{(last - begin) / 86_400:.1f}", f"{c.TRACE_MAX_S / 86_400:g}"
        raise InputError(Code.USAGE, reason=phrases.TOO_LONG(days=days, most=most))
    tasks = [
        Task(
            due=_due(each) - begin, known=_seconds(each["created_at"]) - begin,
            service_s=_seconds(each["finished_at"]) - _seconds(each["started_at"]), failures=max(0, each["attempt"] - 1),
        )
        for each in ran
    ]  # fmt: skip
    return make(queue, tasks, Setup())


def _due(summary: Mapping[str, Any]) -> float:
    """重试过的任务，run_at 是最后一次重试的时刻，头一次的已不可知。"""
    made = _seconds(summary["created_at"])
    return max(made, _seconds(summary["run_at"])) if summary["attempt"] <= 1 else made  # run_at 可以写在过去


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
