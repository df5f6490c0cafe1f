"""Tests on servers in containers: `TASKMILL_TEST_SERVERS=containers` starts them, and those tests pass on them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Final

import pytest

from tests.image.build import CHECKOUT
from tests.image.engine import Docker
from tests.support.servers import POSTGRES_IMAGE, VALKEY_IMAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TESTS: Final = tuple(f"tests/integration/services/test_{name}.py" for name in ("keys", "limits", "rates", "submit_sql"))


def test_services(docker: Docker) -> None:
    started = int(time.time())
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "TASKMILL_"))}
    settings = {"TASKMILL_TEST_SERVERS": "containers", "TESTCONTAINERS_RYUK_DISABLED": "true"}
    command = [sys.executable, "-m", "pytest", "-q", *TESTS]
    done = subprocess.run(
        command, cwd=CHECKOUT, env={**kept, **docker.environment, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:]
    since = (f"--since={started}", f"--until={int(time.time()) + 1}")
    used = docker("events", *since, "--filter=type=container", "--filter=event=start", "--format={{.From}}").split()
    assert {POSTGRES_IMAGE, VALKEY_IMAGE} <= set(used)
    assert not docker("ps", "--quiet")
