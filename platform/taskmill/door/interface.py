"""What a door is, whatever is behind it: the platform's servers, or the memory of `taskmill.testing.Harness`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, overload
from uuid import UUID

from taskmill.controls.options import SubmitOptions
from taskmill.controls.request import TaskRequest
from taskmill.states import State

__all__ = ["Door", "Order", "SubmitOptions", "TaskRequest"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Order(ABC, Generic[R_co]):
    """A task that was submitted, and a place to wait for it.

    `duplicate`: nothing was stored, this is the task that has the unique key. `replaced`: that task got the args and the
    time of this submit.
    """

    def __init__(self, task_id: UUID, kind: str, *, duplicate: bool = False, replaced: bool = False) -> None:
        self.id = task_id
        self.kind = kind
        self.duplicate = duplicate
        self.replaced = replaced

    def __repr__(self) -> str:
        return f"<Order {self.kind} {self.id}{' duplicate' if self.duplicate else ''}>"

    @abstractmethod
    async def status(self) -> State:
        """Return its state; NotFoundError TASK_NOT_FOUND before the commit of the caller's transaction, and once it is pruned."""

    @abstractmethod
    async def result(self, timeout: float | None = None) -> R_co:  # noqa: ASYNC109 - 处理者取消等待，任务照常
        """Wait for the end and return what the handler returned, as the type it declares.

        TaskFailed if it was discarded, TaskCancelled if it was cancelled, TimeoutError after `timeout` seconds (None: for
        ever); the task itself goes on then.
        """


class Door(ABC):
    """Submits tasks and hands out orders; an async context manager that opens and closes what is behind it."""

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open it; SetupError CONFIG_INVALID, UnavailableError DATABASE_UNAVAILABLE."""

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for submits that are under way, and close it."""

    @overload
    async def submit(
        self, request: TaskRequest[R], /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[R]: ...
    @overload
    async def submit(
        self, request: str, args: Any = None, /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[Any]: ...
    @abstractmethod
    async def submit(
        self,
        request: TaskRequest[Any] | str,
        args: Any = None,
        /,
        *,
        connection: object | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Order[Any]:
        """Submit one task, given as `kind.request(…)` or as the name of its kind and its args, and return after its commit.

        With `connection` (of asyncpg or psycopg, or a session or connection of SQLAlchemy) the task is part of that
        transaction: the order comes at once, the task once the caller commits, and nothing happened if it rolls back.
        Errors are those of REST: InputError, NotFoundError KIND_NOT_FOUND, ConflictError UNIQUE_TAKEN, LimitError
        QUEUE_FULL, UnavailableError UNIQUE_BUSY or SEQUENCE_BUSY; those of a lost connection or transaction are the caller's driver's.
        """

    @abstractmethod
    def submit_many(
        self,
        requests: Iterable[TaskRequest[R]] | AsyncIterable[TaskRequest[R]],
        *,
        connection: object | None = None,
        progress: bool | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[Order[R]]:
        """Submit tasks by the chunk as they come, and give the order of each, in their order.

        Each chunk is stored as a whole or not at all. An error ends it, with `index` in its details; what was given before
        stays. `progress` shows a bar on standard error; None: if that is a terminal, and it takes longer than a moment.
        """

    @abstractmethod
    def order(self, task_id: UUID | str, kind: str = "") -> Order[Any]:
        """Return the order of a task that was submitted earlier, or by somebody else."""
