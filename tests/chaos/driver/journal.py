"""What really happened, written down outside of Taskmill: files that are only ever appended to, one JSON object a line.

Handlers write `start`, `end` and `child` (a task that they submitted); clients write what they were answered. A line is one
`write` with O_APPEND, so that a process that is killed leaves whole lines. Times: `mono` is CLOCK_MONOTONIC, the same in all
processes of the machine, `wall` is seconds since 1970.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FOLDER = "CHAOS_JOURNAL"  # 环境变量：处理函数往哪个文件夹写
OK = "ok"


class Journal:
    """One file, appended to."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, event: str, **facts: Any) -> None:
        """Append one line."""
        line = {"event": event, "mono": round(time.monotonic(), 4), "wall": round(time.time(), 4), **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")


_open: dict[int, Journal] = {}


def of_this_process() -> Journal:
    """Return the journal of this process, in the folder that the environment names."""
    pid = os.getpid()
    if pid not in _open:
        _open[pid] = Journal(Path(os.environ[FOLDER]) / f"handlers-{pid}.jsonl")
    return _open[pid]


class Recorded:
    """Writes the start and the end of an attempt: `with Recorded(ctx): …`."""

    def __init__(self, context: Any) -> None:
        self._facts = {"id": str(context.id), "claim": context.claim_no, "kind": context.kind, "pid": os.getpid()}

    def __enter__(self) -> Self:
        of_this_process().write("start", **self._facts)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        of_this_process().write("end", **self._facts, how=OK if kind is None else kind.__name__)


def read(folder: Path) -> list[dict[str, Any]]:
    """Return all lines of all files in the order of time; half a line at the end of a file is left out."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in _lines(path)]
    return sorted(lines, key=lambda line: line["mono"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for raw in path.read_bytes().splitlines(keepends=True):
        if raw.endswith(b"\n"):
            yield {**json.loads(raw), "file": path.name}
