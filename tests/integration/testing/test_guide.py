"""The examples of the guide on testing are one application and its tests; they pass as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "testing.md"
BLOCK = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)


def test_the_examples_pass(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, taskmill_postgres: object, broker_url: str
) -> None:
    files = dict(BLOCK.findall(GUIDE.read_text(encoding="utf-8")))
    assert set(files) == {"shop.py", "conftest.py", "test_handlers.py", "test_place.py", "test_real.py", "orders.py"}
    for name, text in files.items():
        (pytester.path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("TASKMILL_TEST_DATABASE_URL", taskmill_postgres.url)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setenv("TASKMILL_TEST_BROKER_URL", broker_url)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    done = pytester.runpytest_subprocess("-p", "taskmill.testing", "-W", "error", timeout=200)
    done.assert_outcomes(passed=8)
