"""`run.json` exists while the process runs, for its owner's eyes only."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from taskmill.cli.run_json import beside_dev
from taskmill.dev.run_file import run_file
from taskmill.settings import Settings

URL = "http://127.0.0.1:8800"


def test_the_command_line_finds_url_and_token_and_nobody_else_reads_them(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with run_file(tmp_path, api_url=URL, token="t") as path:
            facts = json.loads(path.read_text())
            assert path == tmp_path / "run.json"
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)
    assert facts == {"api_url": URL, "token": "t", "schema_url": f"{URL}/schema", "pid": os.getpid()}


def test_what_the_demo_set_for_plugins_is_found_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"TASKMILL_PLUGIN_EMAIL_HOST": "127.0.0.1", "TASKMILL_PLUGIN_SHELL_ALLOW": "/bin/echo"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKMILL_PLUGIN_EMAIL_HOST", "kept for monkeypatch to undo")
    monkeypatch.delenv("TASKMILL_PLUGIN_EMAIL_HOST")
    monkeypatch.setenv("TASKMILL_PLUGIN_SHELL_ALLOW", "/bin/mine")
    folder = tmp_path / ".taskmill"
    folder.mkdir()
    with run_file(folder, api_url=URL, token="t", plugin_settings=given, database_url="postgresql://h/d"):
        beside_dev(Settings())
    assert os.environ["TASKMILL_PLUGIN_EMAIL_HOST"] == "127.0.0.1"
    assert os.environ["TASKMILL_PLUGIN_SHELL_ALLOW"] == "/bin/mine"


def test_it_goes_with_the_process_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_file(tmp_path, api_url=URL, token="t"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    for name in ("run.json", "run.json.new"):
        (tmp_path / name).write_text("half")
        (tmp_path / name).chmod(0o644)
    with run_file(tmp_path, api_url=URL, token="new") as path:
        assert json.loads(path.read_text())["token"] == "new"
        assert path.stat().st_mode & 0o777 == 0o600
        assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
