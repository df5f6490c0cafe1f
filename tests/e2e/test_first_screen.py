"""The first screen of `make run` on real terminals, narrow and wide, quiet and with log lines: nothing is torn."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

from taskmill.dev.demo import CAPTION, COLUMNS, TITLE
from taskmill.dev.dev import ALSO, API, DOCS, LOGS, STARTING, TOKEN
from tests.e2e.conftest import START_TIMEOUT_S, TASKMILL, Dev
from tests.support.children import tied
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROWS = 24
LOGGED = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[(info|warning|error) *\] \S")
TASK = re.compile(r"│ [0-9a-f-]{36} │ (http\.request|email\.send|shell\.run) +│ completed +│ +[12] +│")


def shown(dev: Dev, columns: int, *options: str, **settings: str) -> Terminal:
    """Run the demo on a terminal and return what stands on it at the end."""
    kept = {
        name: text for name, text in dev.environment().items() if name not in {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    }
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (ROWS, columns))
    try:
        dev.process = subprocess.Popen(
            tied(TASKMILL, *options, "dev", "--demo", "--exit", death=signal.SIGTERM), cwd=dev.folder,
            env={**kept, "TERM": "xterm-256color", **settings}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        told = everything(ours)
    finally:
        os.close(ours)
    assert dev.process.wait(START_TIMEOUT_S) == 0, told
    screen = Terminal(columns, ROWS)
    screen.feed(told)
    return screen


def everything(terminal: int) -> str:
    """Read a terminal until nobody writes to it any more."""
    told, deadline = b"", time.monotonic() + START_TIMEOUT_S
    while select.select([terminal], [], [], deadline - time.monotonic())[0]:
        try:
            told += os.read(terminal, 65_536)
        except OSError:  # EIO：另一头都关了
            return told.decode()
    raise AssertionError(told.decode(errors="replace"))


def check(screen: Terminal, language: str) -> None:
    """Every line is whole and one of those that belong there; the table is there once, and as wide as its frame."""
    words = {text: getattr(text, language) for text in (STARTING, API, DOCS, TOKEN, ALSO, LOGS, TITLE, CAPTION, *COLUMNS)}
    lines = screen.lines()
    assert lines.pop() == ""  # 光标停在新的一行
    said = [line for line in lines if not LOGGED.match(line)]
    start, *facts = said[:6]
    title, top, head, rule, *tasks, bottom, caption = said[6:]
    assert (start, title, caption) == (words[STARTING], words[TITLE], words[CAPTION])
    assert [re.split(" {2,}", line)[0] for line in facts] == [words[each] for each in (API, DOCS, TOKEN, ALSO, LOGS)]
    assert all(re.fullmatch(r"\S.*\S {2,}\S+", line) for line in facts), facts
    assert [each.strip() for each in head.strip("┃").split("┃")] == [words[each] for each in COLUMNS]
    assert [TASK.fullmatch(line) is not None for line in tasks] == [True] * 8, tasks
    assert re.fullmatch("┏[━┳]+┓", top) and re.fullmatch("┡[━╇]+┩", rule) and re.fullmatch("└[─┴]+┘", bottom)
    first = lines.index(top)
    assert lines[first : first + 12] == [top, head, rule, *tasks, bottom]
    assert all(len(re.findall(r"\d\dT[\d:.]+Z \[", line)) <= 1 for line in lines), lines
    table = [number for number, row in enumerate(screen.rows) if row and row[0] in "┏┃┡│└"]
    assert len(table) == 12 and not screen.runs_on & set(table)
    assert len({len(screen.rows[number]) for number in table}) == 1
    assert screen.cursor_shown


def test_no_line_of_the_first_screen_is_torn(dev: Dev) -> None:
    check(shown(dev, 80), "en")
    screen = shown(dev, 120, "--lang", "zh", TASKMILL_LOG_LEVEL="INFO")
    assert sum(LOGGED.match(line) is not None for line in screen.lines()) > 5, screen.lines()
    check(screen, "zh")
