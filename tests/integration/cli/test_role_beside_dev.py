"""The fix that `doctor` and `task show` advise, `taskmill worker --queue …`, works in the folder of a running `taskmill dev`."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from taskmill.dev.process_table import wait_until
from tests.support.command import Command

pytestmark = pytest.mark.timeout(400)
START_S, STOP_S = 120.0, 60.0
READY = {"worker": "worker starts to claim tasks", "scheduler": "scheduler started", "api": "address of the API"}


@pytest.mark.parametrize("role", list(READY))
def test_a_role_without_settings_joins_the_dev_of_its_folder(
    tmp_path: Path, database_url: str, broker_url: str, role: str
) -> None:
    folder = tmp_path / ".taskmill"
    folder.mkdir()
    facts = {"api_url": "http://127.0.0.1:1", "token": "t", "pid": os.getpid()}
    (folder / "run.json").write_text(json.dumps({**facts, "database_url": database_url, "broker_url": broker_url}))
    command = Command(tmp_path, API_PORT="0")
    with command.started(role) as process:
        assert wait_until(lambda: READY[role] in command.told(role), START_S), command.told(role)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0, command.told(role)
    assert str(folder / "run.json") in command.told(role)
    assert not re.search(r"[\u4e00-\u9fff]", command.told(role)), command.told(role)  # 人在看着：用他的语言
