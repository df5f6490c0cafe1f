"""What authors of applications and plugins test with: `docs/guides/testing.md`.

`Harness`, `SyncHarness` and `make_context` need no server and no pytest. `pytest -p taskmill.testing` brings the fixtures of
`taskmill.testing.fixtures`, with real servers; importing this module does not import pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmill.clock import FakeClock
    from taskmill.testing.blocking import SyncHarness
    from taskmill.testing.context import CapturedContext, make_context
    from taskmill.testing.harness import Harness
    from taskmill.testing.worker import RunningWorker

pytest_plugins = ("taskmill.testing.fixtures",)  # `-p taskmill.testing` 由此找到它们

__all__ = ["CapturedContext", "FakeClock", "Harness", "RunningWorker", "SyncHarness", "make_context", "pytest_plugins"]

# 用到才导入：`-p` 早于覆盖率与警告的设置，那时只该有夹具的名字
_HOMES = {
    "CapturedContext": "taskmill.testing.context",
    "FakeClock": "taskmill.clock",
    "Harness": "taskmill.testing.harness",
    "RunningWorker": "taskmill.testing.worker",
    "SyncHarness": "taskmill.testing.blocking",
    "make_context": "taskmill.testing.context",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(name)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
