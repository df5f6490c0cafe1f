"""Fixtures of this plugin's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from taskmill import TaskContext

TASK_ID = UUID("01890000-0000-7000-8000-000000000001")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the loop that production uses."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def context() -> TaskContext:
    """The first attempt of some task."""
    return TaskContext(
        id=TASK_ID,
        kind="any.kind",
        queue="default",
        claim_no=1,
        attempt=1,
        max_attempts=5,
        deadline=datetime.now(UTC) + timedelta(minutes=1),
    )
