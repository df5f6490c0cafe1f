"""What is printed: tables that fit, data that is left alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from taskmill.cli import language
from taskmill.cli.output import Column, Output, age, cells, duration, emit, record
from taskmill.text.printable import printable

COLUMNS = (
    Column("id", "编号", "ID"),
    Column("state", "状态", "STATE"),
    Column("queue", "队列", "QUEUE", rank=2),
    Column("tag", "标签", "TAG", wide=True),
    Column("error.message", "错误", "ERROR", rank=1),
)
ITEM = {
    "id": "0190a5c8-7d3f-7aaa-8000-000000000001",
    "state": "running",
    "queue": "q" * 20,
    "tag": "t",
    "error": {"message": "出错了 " * 20},
}
PAGE = {"items": [ITEM, {**ITEM, "id": "second", "error": None}], "total": 7, "next_cursor": "abc"}


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_chosen", ["en"])


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_table_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    emit(PAGE, "table", COLUMNS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(cells(line) <= columns for line in lines)
    assert lines[0].startswith("ID")
    assert "STATE" in lines[0]


def test_a_pipe_gets_whole_lines_and_wide_gets_every_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    emit(PAGE, "table", COLUMNS)
    assert ("出错了 " * 20).strip() in capsys.readouterr().out
    emit(PAGE, "wide", COLUMNS)
    assert "TAG" in capsys.readouterr().out


def test_data_is_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[Output, Any] = {}
    for output in ("json", "yaml", "jsonl", "name"):
        emit(PAGE, output, COLUMNS)
        told = capsys.readouterr()
        assert told.err == ""
        found[output] = told.out
    assert json.loads(found["json"]) == PAGE
    assert yaml.safe_load(found["yaml"]) == PAGE
    assert [json.loads(line) for line in found["jsonl"].splitlines()] == PAGE["items"]
    assert found["name"].split() == [ITEM["id"], "second"]


def test_what_is_not_shown_is_told_aside(capsys: pytest.CaptureFixture[str]) -> None:
    emit(PAGE, "table", COLUMNS)
    told = capsys.readouterr()
    assert "2 of 7" in told.err
    assert "--cursor abc" in told.err
    assert "abc" not in told.out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (119, "119s"), (120, "2m"), (3_600, "60m"), (7_200, "2h"), (200_000, "2d")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ages_go_both_ways() -> None:
    now = datetime.now(UTC)
    assert age((now - timedelta(minutes=5)).isoformat().replace("+00:00", "Z")) == "5m"
    assert age((now + timedelta(hours=5, minutes=1)).isoformat()) == "in 5h"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "zh_TW", "LC_ALL": "en_US"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_CN"}, "zh"),
    ],
)
def test_language_follows_the_environment(environment: dict[str, str], expected: str) -> None:
    assert language.from_environment(environment) == expected


HOSTILE = {
    "id": "1",
    "state": "bad\x1b[2J",
    "queue": "a\u202eb",
    "tag": "\x9b31m",
    "error": {"message": "first\n  File \x1b]0;owned\x07\r"},
}
ROWS = (*COLUMNS[:4], Column("error.message", "错误", "ERROR", show=str))


@pytest.mark.parametrize("output", ["table", "wide", "json", "jsonl", "yaml", "name"])
def test_no_form_of_output_lets_a_task_steer_the_terminal(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    emit([HOSTILE], output, ROWS, name="state")
    told = capsys.readouterr().out
    assert printable(told, "\n") == told
    if output == "json":
        assert json.loads(told) == [HOSTILE]
    if output == "yaml":
        assert yaml.safe_load(told) == [HOSTILE]


def test_a_record_shows_real_lines_under_its_title(capsys: pytest.CaptureFixture[str]) -> None:
    record(HOSTILE, ROWS)
    told = capsys.readouterr().out
    assert printable(told, "\n") == told
    assert "ERROR  first\n         File \\x1b]0;owned" in told


def test_a_row_that_has_nothing_to_say_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (
        Column("id", "编号", "ID"),
        Column("error.message", "错误", "ERROR", when=lambda item: item["state"] != "completed"),
    )
    record({**ITEM, "state": "completed"}, rows)
    assert "ERROR" not in capsys.readouterr().out
    emit([{**ITEM, "state": "completed"}, ITEM], "table", rows)
    assert capsys.readouterr().out.splitlines()[1].split() == [ITEM["id"], "-"]


def test_columns_that_do_not_fit_are_named_unless_they_have_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    emit({"items": [ITEM]}, "table", COLUMNS)
    told = capsys.readouterr()
    assert "QUEUE" not in told.out
    assert told.err == "too narrow for QUEUE, ERROR; -o wide shows all\n"
    emit({"items": [{**ITEM, "queue": None, "error": None}]}, "table", COLUMNS)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("COLUMNS", "52")
    emit({"items": [{**ITEM, "queue": "q", "error": None}]}, "table", COLUMNS)
    told = capsys.readouterr()
    assert "QUEUE" in told.out
    assert "ERROR" not in told.out


def test_wide_on_a_narrow_terminal_is_a_block_for_each_item(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    emit({"items": [ITEM, {**ITEM, "id": "second"}]}, "wide", COLUMNS)
    blocks = capsys.readouterr().out.split("\n\n")
    assert [block.splitlines()[0].split() for block in blocks] == [["ID", ITEM["id"]], ["ID", "second"]]
    assert "出错了 " * 19 in blocks[0]
