"""The examples run as their README says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from taskmill.dev.process_table import wait_until
from tests.e2e.conftest import Dev

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello-plugin"
FINISH_S = 90.0


def read(dev: Dev, path: str) -> Any:
    """Return the data of an answer."""
    with dev.api() as api:
        answer = api.get(path)
        assert answer.is_success, answer.text
        return answer.json()["data"]


def test_the_hello_plugin_greets_on_its_second_attempt(dev: Dev, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = dev.environment()
    settings = {"PYTHONPATH": str(EXAMPLE), "TASKMILL_PLUGIN_MODULES": "hello"}
    monkeypatch.setattr(dev, "environment", lambda: plain | settings)
    dev.start()
    body = re.search(r"-d '(\{.+\})'", (EXAMPLE / "README.md").read_text(encoding="utf-8"))
    assert body is not None
    with dev.api() as api:
        answer = api.post("/tasks", content=body[1], headers={"Content-Type": "application/json"})
    assert answer.is_success, answer.text
    task = f"/tasks/{answer.json()['data']['id']}"
    assert wait_until(lambda: read(dev, task)["state"] == "completed", FINISH_S), dev.told()
    assert read(dev, f"{task}/result")["result"] == "Hello, Ada!"
    assert [attempt["error_type"] for attempt in read(dev, f"{task}/attempts")["items"]] == ["Retry"]
