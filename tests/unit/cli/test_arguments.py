"""JSON on the command line is the API's JSON; what is none is one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskmill.cli.arguments import parse_json
from taskmill.cli.commands.task_watch import read_tasks
from taskmill.errors import ERRORS, InputError
from tests.support.command import Command

BAD = ['{"v": NaN}', '{"v": Infinity}', '{"v": 1e400}', '{"v": "\\ud800"}', "{", "", "[" * 100_000]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_json_is_wrong_usage(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_json(text, "--args")
    assert ERRORS[caught.value.code].exit_code == 2
    assert "\n" not in caught.value.message()["en"]


def test_the_last_of_two_values_of_a_name_counts() -> None:
    assert parse_json('{"a": 1, "a": 2}', "--args") == {"a": 2}


@pytest.mark.parametrize(
    "arguments",
    [["--args", '{"v": NaN}'], ["--args", '{"v": "\\ud800"}'], ["--tag", b"\xff".decode(errors="surrogateescape")]],
)
def test_the_command_ends_with_2_and_one_line(tmp_path: Path, arguments: list[str]) -> None:
    done = Command(tmp_path, API_URL="http://127.0.0.1:9").run("task", "submit", "demo.any", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2  # 一行错误，一行提示


def test_lines_of_a_batch_end_at_line_feeds_only(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"kind": "a.b", "args": {"text": "one\u2028line"}}\n\n{"kind": "a.c"}\n', encoding="utf-8")
    assert [task["kind"] for task in read_tasks(file)] == ["a.b", "a.c"]
