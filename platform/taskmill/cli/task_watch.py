"""Following one task to its end, and reading tasks to submit from a file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import rich_click as click

from taskmill import constants as c
from taskmill.cli.arguments import parse_json, usage
from taskmill.cli.failure import EXIT_FAILED, EXIT_OK, EXIT_TIMEOUT
from taskmill.cli.language import words
from taskmill.cli.rest import Api, segment
from taskmill.states import FINAL, State


def follow(api: Api, task_id: str, timeout_s: float | None) -> tuple[dict[str, Any], int]:
    """Return the task as it was seen last, and the exit code: 0 completed, 1 ended otherwise, 124 time is up.

    Every change is told on standard error.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    told: tuple[object, ...] = ()
    while True:
        found = api.get(f"/tasks/{segment(task_id)}")
        now = (found["state"], found["attempt"], (found["error"] or {}).get("message"))
        if now != told:
            told = now
            _tell(found)
        if found["state"] in FINAL:
            return found, EXIT_OK if found["state"] == State.COMPLETED else EXIT_FAILED
        left = c.CLI_WATCH_POLL_S if deadline is None else deadline - time.monotonic()
        if left <= 0:
            click.echo(words(f"等了 {timeout_s:g} 秒，任务还没有结束", f"not finished after {timeout_s:g} s"), err=True)
            return found, EXIT_TIMEOUT
        time.sleep(min(left, c.CLI_WATCH_POLL_S))


def _tell(found: dict[str, Any]) -> None:
    attempt = words("第 {} 次尝试，上限 {}", "attempt {} of {}").format(found["attempt"], found["max_attempts"])
    error = f"  {found['error'].get('message')}" if found["error"] else ""
    click.echo(f"{time.strftime('%H:%M:%S')}  {found['state']:<9}  {attempt}{error}", err=True)


def read_tasks(file: Path) -> list[Any]:
    """Return the tasks of a file, `-` for standard input: one JSON array, or one JSON object per line."""
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise usage(f"{file}: {error}") from error
    if raw.lstrip().startswith(b"["):
        return parse_json(raw, str(file))
    return [parse_json(line, f"{file}:{number}") for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
