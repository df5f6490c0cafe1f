"""Where the command line finds the API and its key."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from taskmill.cli.failure import RemoteError, exit_code
from taskmill.cli.rest import find_target
from taskmill.errors import InputError

URL = "http://127.0.0.1:4000"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which `taskmill dev` runs."""
    (tmp_path / ".taskmill").mkdir()
    (tmp_path / ".taskmill" / "run.json").write_text(json.dumps({"api_url": URL, "token": "tmk_dev", "schema_url": ""}))
    return tmp_path


@pytest.mark.parametrize(
    ("url", "token", "expected"),
    [
        (None, None, (URL, "tmk_dev")),
        (None, "mine", (URL, "mine")),
        ("https://api.example.org/", "mine", ("https://api.example.org", "mine")),
        # 令牌绝不送给别的地址
        ("https://api.example.org", None, ("https://api.example.org", None)),
    ],
)
def test_run_json_is_found_upwards(project: Path, url: str | None, token: str | None, expected: tuple[str, str | None]) -> None:
    below = project / "a" / "b"
    below.mkdir(parents=True)
    found = find_target(url, token, below)
    assert (found.url, found.token) == expected


def test_without_run_json_it_is_the_default_port(tmp_path: Path) -> None:
    assert find_target(None, None, tmp_path).url == "http://127.0.0.1:8800"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_not_trusted(project: Path) -> None:
    os.chown(project / ".taskmill" / "run.json", 65_534, 65_534)
    assert find_target(None, None, project).url != URL


def test_a_broken_file_is_named(project: Path) -> None:
    (project / ".taskmill" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        find_target(None, None, project)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(404, "TASK_NOT_FOUND", 3), (409, "TASK_NOT_RETRYABLE", 4), (422, "ARGS_INVALID", 2), (503, "DATABASE_UNAVAILABLE", 5),
     (404, "OF_THE_FUTURE", 3), (403, "OF_THE_FUTURE", 4), (418, "OF_THE_FUTURE", 2), (500, "OF_THE_FUTURE", 1)],
)  # fmt: skip
def test_exit_codes_of_answers(status: int, code: str, expected: int) -> None:
    assert exit_code(RemoteError(status, {"code": code, "message": {"zh": "坏", "en": "bad"}})) == expected
