"""The harness for applications without an event loop: the calls of `taskmill.sync.Taskmill`, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from taskmill.controls.request import TaskRequest
from taskmill.door.background import Background
from taskmill.door.blocking import Order
from taskmill.door.interface import Order as AsyncOrder
from taskmill.services.tasks.view import TaskDetail
from taskmill.testing.asserting import Asserting
from taskmill.testing.harness import Harness

R = TypeVar("R")


class SyncHarness(Asserting):
    """As `Harness`, which it takes the parameters of, without `await`; handlers run in a thread of its own.

    What does not wait (`advance`, `cancel`, `retry`, `task`, `result`, `attempts`, `clock`, …) is that of `harness`.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        self.harness = Harness(*tasks, **options)
        self._background = Background()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.harness, name)

    def open(self) -> Self:
        """Return the harness, which needs nothing opened."""
        return self

    def close(self) -> None:
        """Let go of the threads."""
        try:
            self._background.run(self.harness.close())
        finally:
            self._background.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def submit(
        self, request: TaskRequest[Any] | str, args: Any = None, /, *, connection: object | None = None, **options: Any
    ) -> Order[Any]:
        """Submit one task, as at the door. Errors: those of the door."""
        submit: Any = self.harness.submit  # 两个重载合在一处
        return self._order(self._background.run(submit(request, args, connection=connection, **options)))

    def submit_many(self, requests: Iterable[TaskRequest[Any]], **options: Any) -> Iterator[Order[Any]]:
        """Submit tasks by the chunk, as at the door, and give the order of each."""

        async def all_of_them() -> list[AsyncOrder[Any]]:
            return [order async for order in self.harness.submit_many(requests, **options)]

        yield from map(self._order, self._background.run(all_of_them()))

    def order(self, task_id: UUID | str, kind: str = "") -> Order[Any]:
        """Return the order of a task that was submitted here."""
        return self._order(self.harness.order(task_id, kind))

    def drain(self, *, future: bool = False) -> int:
        """Run what is due, as `Harness.drain`."""
        return self._background.run(self.harness.drain(future=future))

    @property
    def submitted(self) -> list[TaskDetail]:
        """Return all tasks that were stored, in the order of their submits, as they are now."""
        return self.harness.submitted

    def _order(self, order: AsyncOrder[Any]) -> Order[Any]:
        return Order(self._background, order)
