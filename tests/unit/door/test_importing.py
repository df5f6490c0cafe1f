"""What it costs an application to import the door: little time, nothing of the server's, and nothing of its process is changed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CPU_S = 0.3
# 应用不该因为提交任务就带上它们
NEVER = ("litestar", "alembic", "kopf", "kubernetes", "taskiq", "taskiq_redis", "rich_click", "click", "taskmill.cli", "taskmill.api",
         "taskmill.engine", "taskmill.plugin.host", "psycopg")  # fmt: skip
LOOK = """
import gc, json, sys, time
before = gc.get_threshold(), gc.isenabled(), sorted(sys.modules)
began = time.process_time()
{code}
used = time.process_time() - began
print(json.dumps({{"used": used, "modules": sorted(sys.modules), "gc": (gc.get_threshold(), gc.isenabled()) == before[:2]}}))
"""


def imported(code: str) -> dict[str, object]:
    """Run `code` in a new process and return what it cost and left; the first run may compile, so the best of three counts."""
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", LOOK.format(code=code)], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    return min(runs, key=lambda run: run["used"])


@pytest.mark.parametrize("code", ["from taskmill import Taskmill, TaskFailed, Order", "import taskmill.sync"])
def test_importing_the_door_is_light(code: str) -> None:
    found = imported(code)
    assert found["used"] < CPU_S
    assert {name for name in found["modules"] if name.startswith(NEVER)} == set()
    assert found["gc"] is True


def test_what_opens_it_brings_no_server_role_either() -> None:
    found = imported("import taskmill.services.tasks.entrance")
    assert {name for name in found["modules"] if name.startswith(NEVER)} == set()
    assert found["gc"] is True
