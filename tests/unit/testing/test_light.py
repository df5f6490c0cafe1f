"""The kit needs no pytest, no server and no worker to be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import taskmill", ["taskmill.testing", "taskiq", "sqlalchemy", "litestar"]),
        ("import taskmill.testing", ["pytest", "asyncpg", "taskmill.testing.harness"]),
        ("from taskmill.testing import Harness, make_context", ["pytest", "litestar", "alembic", "kopf", "taskmill.dev"]),
    ],
)
def test_what_an_import_does_not_bring(code: str, absent: list[str]) -> None:
    ask = f"{code}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
