"""What no waiting mends is one coded line at once, for every command: no traceback, no minute of patience, no secret."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.support.command import Command

SOON_S = 50.0  # 比默认的耐心（60 秒）短：没有等过
COMMANDS = [("migrate", "up"), ("migrate", "status"), ("key", "list"), ("api",), ("worker",), ("scheduler",)]


def _refused(folder: Path, broker_url: str, url: str, arguments: tuple[str, ...]) -> tuple[int, str]:
    began = time.monotonic()
    done = Command(folder, DATABASE_URL=url, BROKER_URL=broker_url).run(*arguments)
    assert time.monotonic() - began < SOON_S
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_database_that_does_not_exist(
    tmp_path: Path, database_url: str, broker_url: str, arguments: tuple[str, ...]
) -> None:
    url = re.sub(r"/[^/]+$", "/no_such_database", database_url)
    code, told = _refused(tmp_path, broker_url, url, arguments)
    assert code == 5
    assert re.search(r"DATABASE_UNAVAILABLE .*no such database: .*\"no_such_database\" does not exist", told), told


@pytest.mark.parametrize(
    ("pattern", "put", "arguments", "code", "words"),
    [
        (r"//[^@]*@", "//nobody:secret@", ("migrate", "up"), 5, "authentication failed: .*nobody"),
        (r"//[^@]*@", "//nobody:secret@", ("worker",), 5, "authentication failed: .*nobody"),
        (r"^.*$", "mysql://u:secret@db/app", ("worker",), 2, "TASKMILL_DATABASE_URL: must begin with postgresql://"),
        (r"^.*$", "bob:secret@db/app", ("migrate", "up"), 2, "TASKMILL_DATABASE_URL: must begin with postgresql://"),
        (r"$", "?no_such_parameter=1", ("api",), 2, "TASKMILL_DATABASE_URL: .*no_such_parameter"),
        (r"$", "?no_such_parameter=1", ("migrate", "up"), 2, "TASKMILL_DATABASE_URL: .*no_such_parameter"),
        (r"$", "?sslmode=perhaps", ("scheduler",), 2, "TASKMILL_DATABASE_URL: .*sslmode"),
    ],
)
def test_a_url_that_cannot_work(
    tmp_path: Path,
    database_url: str,
    broker_url: str,
    pattern: str,
    put: str,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    found, told = _refused(tmp_path, broker_url, re.sub(pattern, put, database_url, count=1), arguments)
    assert found == code, told
    assert re.search(words, told), told


def test_a_parameter_that_the_driver_of_valkey_does_not_know(tmp_path: Path, database_url: str, broker_url: str) -> None:
    code, told = _refused(tmp_path, f"{broker_url}?no_such_parameter=1", database_url, ("scheduler",))
    assert code == 2
    assert re.search("TASKMILL_BROKER_URL: .*no_such_parameter", told), told


def test_a_url_as_others_hand_it_out(tmp_path: Path, empty_database_url: str, broker_url: str) -> None:
    url = f"{empty_database_url}?sslmode=prefer&channel_binding=prefer&connect_timeout=10&keepalives=1&application_name=x"
    command = Command(tmp_path, DATABASE_URL=url, BROKER_URL=broker_url)
    command.ok("migrate", "up")
    command.ok("key", "list")
