"""What is printed: tables that fit, data that is left alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from taskmill.cli import language
from taskmill.cli.output import Column, Output, age, cells, duration, emit

COLUMNS = (
    Column("id", "编号", "ID"), Column("state", "状态", "STATE"), Column("queue", "队列", "QUEUE", rank=2),
    Column("tag", "标签", "TAG", wide=True), Column("error.message", "错误", "ERROR", rank=1),
)  # fmt: skip
ITEM = {"id": "0190a5c8-7d3f-7aaa-8000-000000000001", "state": "running", "queue": "q" * 20, "tag": "t",
        "error": {"message": "出错了 " * 20}}  # fmt: skip
PAGE = {"items": [ITEM, {**ITEM, "id": "second", "error": None}], "total": 7, "next_cursor": "abc"}


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_chosen", ["en"])


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_table_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
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
    [({}, "en"), ({"LANG": "zh_CN.UTF-8"}, "zh"), ({"LANG": "C"}, "en"), ({"LANG": "zh_TW", "LC_ALL": "en_US"}, "en"),
     ({"LC_ALL": "", "LANG": "zh_CN"}, "zh")],
)  # fmt: skip
def test_language_follows_the_environment(environment: dict[str, str], expected: str) -> None:
    assert language.from_environment(environment) == expected
