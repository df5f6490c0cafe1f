"""What the tests of all shipped plugins have in common; the rest comes from `taskmill.testing`."""

from __future__ import annotations

import pytest

from taskmill import TaskContext


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the loop that production uses."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def context(taskmill_context: TaskContext) -> TaskContext:
    """The first attempt of some task."""
    return taskmill_context
