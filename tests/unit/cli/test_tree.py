"""The tree of commands: every one has words and an example, lists fast, and knows near misses."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading

import click
import pytest

from taskmill.cli import main
from taskmill.cli.reference_pages import walk

HELP_MAX_S = 0.5  # 承诺：--help 半秒内
TREE = list(walk(main.root))
NAMES = {path.removeprefix("taskmill ") for path, _ in TREE}


@pytest.mark.parametrize(("path", "command"), TREE, ids=[path for path, _ in TREE])
def test_every_command_has_an_example_of_itself(path: str, command: click.Command) -> None:
    assert "Example" in (command.help or ""), path
    assert path in (command.help or "") or path == "taskmill" or isinstance(command, click.Group) or "xargs" in command.help


@pytest.mark.parametrize(("path", "command"), TREE, ids=[path for path, _ in TREE])
def test_every_option_has_words(path: str, command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


@pytest.mark.parametrize("name", ["api", "worker", "scheduler", "dev", "migrate up", "migrate down", "migrate status",
                                  "migrate sql", "task submit", "task list", "task show", "task watch", "task cancel",
                                  "task retry", "task result", "queue list", "queue pause", "queue resume",
                                  "schedule list", "schedule create", "schedule pause", "schedule resume", "schedule run",
                                  "schedule next", "schedule delete", "node list", "plugin list", "key create", "key list",
                                  "key revoke", "doctor", "bench"])  # fmt: skip
def test_promised_commands_are_there(name: str) -> None:
    assert name in NAMES


def test_help_imports_no_engine_and_no_driver() -> None:
    script = (
        "import sys\nfrom taskmill.cli.main import run\nrun(['--help'])\n"
        "print([m for m in ('taskiq', 'asyncpg', 'sqlalchemy', 'litestar', 'redis') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_help_is_fast() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}  # 量的是它，不是测量它的

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "taskmill.cli", "--help"], capture_output=True, check=True, env=plain)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # 只数它自己用的 CPU：别人忙不算它慢；取几次中最快的
    assert min(once() for _ in range(5)) < HELP_MAX_S


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["wroker"], "worker"),
        (["task", "submit"], "taskmill task submit --help"),
        (["task", "list", "--page-size", "0"], "page-size"),
        (["task", "list", "--page-size", "101"], "page-size"),
        (["task", "submit", "a.b", "--args", "{"], "JSON"),
        (["task", "submit", "a.b", "--in", "soon"], "--in"),
        (["task", "submit", "a.b", "--in", "36501d"], "at most 36500d"),
        (["task", "submit", "a.b", "--in", "9" * 400], "at most 36500d"),
        (["queue", "set", "q", "--retention", "9" * 400], "--retention"),
        (["key", "create", "k", "--expires-in", "9999999d"], "--expires-in"),
        (["migrate", "wait", "--timeout", "9" * 400], "--timeout"),
        (["task", "submit", "a.b", "--at", "soon"], "--at"),
        (["schedule", "create", "n", "a.b"], "--every"),
        (["task", "show", ".."], "not a name"),
        (["task", "list", "--url", "ftp://x"], "ftp://x"),
    ],
)
def test_wrong_usage_is_two_and_says_what(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("USAGE ")
    assert word in told.err


def test_a_role_that_was_called_as_a_function_leaves_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKMILL_DATABASE_URL", raising=False)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert main.run(["worker"]) == 2
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert [thread.name for thread in threading.enumerate() if thread.name == "watch"] == []


def test_an_api_that_is_not_there_is_five(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["task", "list", "--url", "http://127.0.0.1:1"]) == 5
    assert capsys.readouterr().err.startswith("API_UNREACHABLE ")
