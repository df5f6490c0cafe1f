"""A role logs in the language of TASKMILL_LOG_LANG and in no other; a command that a person runs follows the person without it."""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from taskmill.dev.process_table import wait_until
from tests.support.command import Command

pytestmark = pytest.mark.timeout(400)
CHINESE = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")
START_S, STOP_S = 120.0, 60.0
READY = {
    "en": {"api": "address of the API", "worker": "worker starts to claim tasks", "scheduler": "scheduler started"},
    "zh": {"api": "接口地址", "worker": "工作进程开始领取任务", "scheduler": "调度器已启动"},
}


def lines(text: str) -> list[dict[str, Any]]:
    """Return the JSON lines of a log; the address that `api` prints for people is none."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("language", list(READY))
def test_roles_log_in_one_language(tmp_path: Path, database_url: str, broker_url: str, language: str) -> None:
    command = Command(
        tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url, API_PORT="0", LOG_LANG=language, LOG_FORMAT="json",
        LOG_LEVEL="DEBUG", LOG_DIR=str(tmp_path / "logs"),
    )  # fmt: skip
    with ExitStack() as stack:
        roles = {role: stack.enter_context(command.started(role)) for role in READY[language]}
        for role, event in READY[language].items():
            assert wait_until(lambda role=role, event=event: event in command.told(role), START_S), command.told(role)
        for process in roles.values():
            process.send_signal(signal.SIGTERM)
        assert {role: process.wait(STOP_S) for role, process in roles.items()} == dict.fromkeys(roles, 0)
    for role in roles:
        told = [line for line in lines(command.told(role)) if line["logger"].startswith("taskmill")]
        assert len(told) >= 3, command.told(role)
        wrong = [line for line in told if bool(CHINESE.search(line["event"])) != (language == "zh")]
        assert wrong == [], role
    if language == "en":
        written = "".join(command.told(role) for role in roles) + (tmp_path / "logs" / "taskmill.log").read_text("utf-8")
        assert [line for line in written.splitlines() if CHINESE.search(line)] == []


@pytest.mark.parametrize(
    ("lang", "option", "log_lang", "told"),
    [
        ("en_US.UTF-8", None, None, "database migrated"),
        ("zh_CN.UTF-8", None, None, "数据库迁移完成"),
        ("C.UTF-8", None, None, "数据库迁移完成"),  # 集群里的迁移 Job
        ("en_US.UTF-8", "zh", None, "数据库迁移完成"),
        ("zh_CN.UTF-8", "zh", "en", "database migrated"),
    ],
)
def test_a_command_that_a_person_runs_logs_in_the_language_of_the_person(
    tmp_path: Path, empty_database_url: str, lang: str, option: str | None, log_lang: str | None, told: str
) -> None:
    command = Command(tmp_path, DATABASE_URL=empty_database_url, **({"LOG_LANG": log_lang} if log_lang else {}))
    done = command.run(*(("--lang", option) if option else ()), "migrate", "up", LANG=lang)
    assert told in done.stderr
    if told.isascii() and option is None:
        assert not CHINESE.search(done.stderr), done.stderr
