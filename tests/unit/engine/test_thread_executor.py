"""A handler in a thread always comes to an end that its worker can see."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskmill import task
from taskmill.engine.executors.thread import ThreadExecutor
from taskmill.ids import new_id
from taskmill.plugin.context import TaskContext

pytestmark = pytest.mark.anyio
CONTEXT = TaskContext(new_id(), "a.b", "default", 1, 1, 5, datetime.now(UTC))


@task("thread.exhausted")
def exhausted() -> int:
    """Raise StopIteration, which a Future does not take."""
    return next(iter([]))


@task("thread.answer")
def answer() -> int:
    """Return a value."""
    return 42


async def test_stop_iteration_becomes_an_error_instead_of_a_hang() -> None:
    executor = ThreadExecutor(2)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await executor.run(exhausted, {}, CONTEXT)
    assert await executor.run(answer, {}, CONTEXT) == 42
    await executor.close()
