"""Log files are rotated by size and by age, across restarts, and only so many are kept."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from taskmill import reasons
from taskmill.errors import Code, SetupError
from taskmill.log import ACCESS_LOGGER, _Terminal, access, configure_logging, get_logger
from taskmill.text.log_events import add_events
from taskmill.words import Words

START = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put the handlers of pytest back."""
    root, line = logging.getLogger(), logging.getLogger(ACCESS_LOGGER)
    kept = (root.handlers, root.level, line.handlers, line.propagate)
    yield
    for handler in {*root.handlers, *line.handlers} - {*kept[0], *kept[2]}:
        handler.close()
    root.handlers, root.level, line.handlers, line.propagate = kept


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full: Linux has it")


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_file_is_rotated_when_it_is_old(tmp_path: Path) -> None:
    with time_machine.travel(START, tick=False) as clock:
        configure_logging(log_dir=tmp_path, max_age_s=3_600)
        for number in range(4):
            get_logger("tests").info("第几行", number=number)
            access("请求", {"number": number})
            clock.shift(timedelta(minutes=40))
    for name in ("taskmill.log", "access.log"):
        assert numbers(tmp_path / f"{name}.1") == [0, 1]
        assert numbers(tmp_path / name) == [2, 3]


def test_the_age_survives_a_restart(tmp_path: Path) -> None:
    with time_machine.travel(START, tick=False) as clock:
        for number in range(3):
            configure_logging(log_dir=tmp_path, max_age_s=3_600)
            get_logger("tests").info("第几行", number=number)
            clock.shift(timedelta(minutes=40))
    assert numbers(tmp_path / "taskmill.log.1") == [0, 1]
    assert numbers(tmp_path / "taskmill.log") == [2]


def test_a_file_that_is_not_ours_counts_from_now_on(tmp_path: Path) -> None:
    (tmp_path / "taskmill.log").write_text("not JSON\n")
    configure_logging(log_dir=tmp_path, max_age_s=3_600)
    get_logger("tests").info("第几行", number=1)
    assert not (tmp_path / "taskmill.log.1").exists()


def test_size_and_count(tmp_path: Path) -> None:
    configure_logging(log_dir=tmp_path, max_bytes=300, count=2)
    for number in range(30):
        get_logger("tests").info("第几行", number=number)
    assert sorted(path.name for path in tmp_path.glob("taskmill.log*")) == [
        "taskmill.log",
        "taskmill.log.1",
        "taskmill.log.2",
    ]
    assert numbers(tmp_path / "taskmill.log")[-1] == 29
    assert all(path.stat().st_size < 600 for path in tmp_path.glob("taskmill.log*"))


def filled(*names: str) -> None:
    """Let the files of these names be on a full disk from now on."""
    for logger in (logging.getLogger(), logging.getLogger(ACCESS_LOGGER)):
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).name in names:
                handler.stream.close()
                handler.stream = open("/dev/full", "a", encoding="utf-8")  # noqa: PTH123, SIM115 - 由处理器关


@needs_full
def test_a_full_disk_is_said_once_and_not_for_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json", log_dir=tmp_path)
    filled("access.log")
    for number in range(50):
        access("请求", {"number": number})
    (told,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (told["event"], told["path"], told["lines"]) == ("日志文件写不下去", str(tmp_path / "access.log"), 1)
    assert "No space left" in told["error"]
    assert "日志文件写不下去" in (tmp_path / "taskmill.log").read_text(encoding="utf-8")
    configure_logging()  # 满着也换得掉


@needs_full
def test_a_full_disk_under_both_files_is_said_of_each_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(log_format="json", log_dir=tmp_path)
    filled("access.log", "taskmill.log")
    for number in range(50):
        access("请求", {"number": number})
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert sorted(Path(line["path"]).name for line in told) == ["access.log", "taskmill.log"]
    configure_logging()  # 满着也换得掉


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    configure_logging(log_dir=tmp_path / "logs", max_bytes=300)
    for number in range(9):
        get_logger("tests").info("第几行", number=number)
    files = list((tmp_path / "logs").iterdir())
    assert {(path.stat().st_mode & 0o777) for path in files} == {0o600}
    assert len(files) > 2
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


def test_what_others_wrote_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    access("请求", {"path": "/\x1b]0;x\x07", "user_agent": "\x9b2J\u202e", "query": "a\nb", "n": 1})
    get_logger("tests").error("坏了", error="\x1b[31m", facts={"a": "\x1b"}, exc_info=ValueError("\x1b[2J"))
    shown = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    assert shown.startswith("2") and "a\nb" not in shown


def test_json_lines_hold_nothing_that_steers_a_terminal_and_lose_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(log_format="json", log_dir=tmp_path)
    said = {"path": "/\x9b2J\u202e 请求", "file": os.fsdecode(b"\xff"), "at": {1, 2}}
    access("请求", said)
    get_logger("tests").error("坏了", **said)
    for text in (capsys.readouterr().err, (tmp_path / "access.log").read_text(), (tmp_path / "taskmill.log").read_text()):
        assert not {"\x9b", "\u202e"} & set(text)
        assert all(
            (line["path"], line["file"]) == (said["path"], said["file"]) for line in map(json.loads, text.splitlines())
        )
        assert text


@pytest.mark.parametrize("form", ["console", "json"])
def test_only_the_event_is_put_into_english(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    add_events({"插件自己的事": "a thing of the plugin", "任务已救援": "not for a plugin to say"})
    configure_logging(log_format=form, log_dir=tmp_path, language="en")
    fields = {"path": "/请求"}
    access("请求", fields)
    for event in ("任务已救援", "插件自己的事", "不在表里"):
        get_logger("tests").info(event, value="请求")
    shown = capsys.readouterr().err
    assert all(event in shown for event in ("task rescued", "a thing of the plugin", "不在表里"))
    assert shown.count("请求") == 3
    lines = [json.loads(line) for line in (tmp_path / "taskmill.log").read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["value"]) for line in lines] == [
        ("task rescued", "请求"),
        ("a thing of the plugin", "请求"),
        ("不在表里", "请求"),
    ]
    line = json.loads((tmp_path / "access.log").read_text(encoding="utf-8"))
    assert (line["event"], line["path"]) == ("request", "/请求")


def test_the_access_log_on_the_terminal_is_english_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKMILL_LOG_LANG", "en")
    configure_logging(log_format="json")
    access("请求", {"path": "/x"})
    assert json.loads(capsys.readouterr().err)["event"] == "request"


def test_a_line_is_written_where_standard_error_is_now_though_the_one_before_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", before)
    handler = _Terminal()
    record = logging.LogRecord("test", logging.INFO, "", 0, "a line", None, None)
    handler.emit(record)
    before.close()
    monkeypatch.setattr(sys, "stderr", now)
    handler.emit(record)
    assert now.getvalue() == "a line\n"


WRONG = SetupError(Code.CONFIG_INVALID, field="TASKMILL_X", reason=reasons.NOT_SET)
BUSY = Words("忙", "busy")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    ("language", "shown", "hidden"), [("en", WRONG.words.en, WRONG.words.zh), ("zh", WRONG.words.zh, WRONG.words.en)]
)
def test_logs_and_tracebacks_show_errors_in_the_language_of_the_log(
    capsys: pytest.CaptureFixture[str], form: str, language: str, shown: str, hidden: str
) -> None:
    configure_logging(log_format=form, language=language)
    try:
        raise WRONG
    except SetupError as error:
        get_logger("x").exception("任务已救援", error=str(error), why=BUSY)
        trace = traceback.format_exc()
    line = capsys.readouterr().err
    assert line.count(shown) >= 2
    assert trace.count(shown) == 1
    assert hidden not in line + trace
    assert ("busy" in line, "忙" in line) == (language == "en", language == "zh")
