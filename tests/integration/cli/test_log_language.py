"""A role that really runs logs its events in the language of TASKMILL_LOG_LANG, and in no other."""

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
