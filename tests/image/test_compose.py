"""compose.yaml as it is, with the port and the allowed command of the test: up, a task, down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.image import build
from tests.image.engine import Docker
from tests.image.roles import ECHO, is_completed, submit_line
from tests.support.requires import missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
FILE: Final = build.CHECKOUT / "compose.yaml"
# 8800 也许有人占着
CHANGES: Final = (
    "services: {api: {ports: !override ['127.0.0.1:0:8800']}, worker: {environment: {TASKMILL_PLUGIN_SHELL_ALLOW: %s}}}\n"
)
ROLES: Final = {"api", "scheduler", "worker"}


class Compose:
    """`compose(…)` on the engine of the tests, as a project of its own."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        changes = folder / "changes.yaml"
        changes.write_text(CHANGES % ECHO)
        self._command = [build.compose(), "--project-name=taskmill-test", f"--file={FILE}", f"--file={changes}"]
        self._environment = {**os.environ, **docker.environment, "TASKMILL_DB_PASSWORD": "secret"}

    def __call__(self, *arguments: str) -> str:
        """Run it and return what it prints."""
        command = [*self._command, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture
def compose(docker: Docker, tmp_path: Path) -> Iterator[Compose]:
    """Compose, from its Go module; what it made is removed."""
    if shutil.which("go") is None:
        missing("Go", target="test/image")
    made = Compose(docker, tmp_path)
    yield made
    made("down", "--volumes", "--timeout=50")


def test_up_a_task_and_down(compose: Compose, docker: Docker) -> None:
    compose("up", "--detach", "--wait", "--no-build", "--pull=never", "--wait-timeout=300")
    listed = [json.loads(line) for line in compose("ps", "--all", "--format=json").splitlines()]
    states = {each["Service"]: each for each in listed}
    assert {name for name, each in states.items() if each["Health"] == "healthy"} == ROLES | {"postgres", "valkey"}
    assert (states["migrate"]["State"], states["migrate"]["ExitCode"]) == ("exited", 0)
    token = json.loads(compose("exec", "-T", "api", "taskmill", "key", "create", "ci", "-o", "json"))["secret"]
    url = "http://" + compose("port", "api", "8800").strip()
    task = json.loads(docker("run", "--rm", "--network=host", build.TASKMILL, *submit_line(url, token)))
    assert is_completed(task), task
    assert url.startswith("http://127.0.0.1:")
