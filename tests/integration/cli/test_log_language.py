"""With TASKMILL_LOG_LANG=en no Chinese is in a line that a role logs; without it events are Chinese."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
CHINESE = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")


async def _run(command: Command, *arguments: str, until: str) -> str:
    with command.started(*arguments) as process:
        await eventually(lambda: until in command.told(arguments[0]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    return command.told(arguments[0])


@pytest.mark.parametrize("form", ["console", "json"])
async def test_roles_log_in_english(tmp_path: Path, database_url: str, broker_url: str, form: str) -> None:
    command = Command(
        tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url, LOG_LANG="en", LOG_FORMAT=form, LOG_LEVEL="DEBUG", LOG_DIR=str(tmp_path)
    )
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    told = await _run(command, "worker", until="worker starts to claim tasks")
    told += await _run(command, "api", "--port", str(port), until="address of the API")
    written = (tmp_path / "taskmill.log").read_text(encoding="utf-8")
    assert [line for line in (told + written).splitlines() if CHINESE.search(line)] == []
    assert "plugin loaded" in told and "API stopped" in told and "worker stopped" in written


async def test_events_are_chinese_unless_asked_otherwise(tmp_path: Path, database_url: str, broker_url: str) -> None:
    command = Command(tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url)
    assert "已停止" in await _run(command, "worker", until="工作进程开始领取任务")
