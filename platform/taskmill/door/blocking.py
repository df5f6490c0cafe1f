"""`taskmill.sync.Taskmill`: the same for programs without an event loop. Any number of threads may use one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, overload
from uuid import UUID

import msgspec

from taskmill import reasons
from taskmill.controls.options import SubmitOptions
from taskmill.controls.request import TaskRequest
from taskmill.door import interface
from taskmill.door.background import Background
from taskmill.door.chunks import sliced, total
from taskmill.door.orders import PlatformOrder
from taskmill.door.progress import Progress
from taskmill.door.taskmill import Taskmill as AsyncTaskmill
from taskmill.door.telling import told
from taskmill.errors import Code, InputError
from taskmill.states import State

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Order(Generic[R_co]):
    """A task that was submitted; as `taskmill.Order`, without `await`."""

    def __init__(self, background: Background, order: interface.Order[R_co]) -> None:
        self._background = background
        self._order = order
        self.id = order.id
        self.kind = order.kind
        self.duplicate = order.duplicate
        self.replaced = order.replaced

    def __repr__(self) -> str:
        return repr(self._order)

    def status(self) -> State:
        """Return its state; errors as of `taskmill.Order.status`."""
        return self._background.run(self._order.status())

    def result(self, timeout: float | None = None) -> R_co:
        """Wait for the end and return the result; errors as of `taskmill.Order.result`."""
        return self._background.run(self._order.result(timeout))


class Taskmill:
    """Submits tasks and waits for them; as `taskmill.Taskmill`, without `await`.

    Its connections live in one thread in the background. With `connection=` the statement runs in the caller's thread.
    """

    def __init__(self, *, database_url: str | None = None, broker_url: str | None = None) -> None:
        self._door = AsyncTaskmill(database_url=database_url, broker_url=broker_url)
        self._background: Background | None = None
        self._lock = threading.Lock()

    def open(self) -> Self:
        """Connect, for programs that cannot say `with`; errors as of `taskmill.Taskmill`."""
        with self._lock:
            if self._background is None:
                with ExitStack() as undone:
                    background = Background()
                    undone.callback(background.stop)
                    background.run(self._door.open())
                    undone.pop_all()
                self._background = background
        return self

    def close(self) -> None:
        """Wait for submits that are under way, end all waits for results, close the connections, end the thread."""
        with self._lock:
            background, self._background = self._background, None
        if background is not None:
            try:
                background.run(self._door.close())
            finally:
                background.stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @overload
    def submit(
        self, request: TaskRequest[R], /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[R]: ...
    @overload
    def submit(
        self, request: str, args: Any = None, /, *, connection: object | None = None, **options: Unpack[SubmitOptions]
    ) -> Order[Any]: ...
    def submit(
        self,
        request: TaskRequest[Any] | str,
        args: Any = None,
        /,
        *,
        connection: object | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Order[Any]:
        """Submit one task and return after its commit, or as part of the transaction of `connection`; errors as of `taskmill.Taskmill`."""
        if connection is None:
            made: interface.Order[Any] = self._run.run(self._door.submit(request, args, **options))  # pyright: ignore[reportCallIssue, reportArgumentType] - 两个重载合在一处
            return Order(self._run, made)
        if not isinstance(request, TaskRequest):
            request = TaskRequest[Any](request, {} if args is None else msgspec.to_builtins(args))
        with told():
            return self._store([request], connection, options)[0]

    def submit_many(
        self,
        requests: Iterable[TaskRequest[R]],
        *,
        connection: object | None = None,
        progress: bool | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Order[R]]:
        """Submit tasks by the chunk as they come, and give the order of each; errors as of `taskmill.Taskmill.submit_many`."""
        count = 0
        with Progress(total(requests), wanted=progress) as bar:
            for part in sliced(requests, self._door.entrance.chunk):
                with told(count):
                    orders = self._store(part, connection, options)
                count += len(part)
                bar.advance(len(part))
                yield from orders

    def order(self, task_id: UUID | str, kind: str = "") -> Order[Any]:
        """Return the order of a task that was submitted earlier, or by somebody else."""
        return Order(self._run, self._door.order(task_id, kind))

    @property
    def _run(self) -> Background:
        if self._background is None:
            raise InputError(Code.USAGE, reason=reasons.NOT_OPEN)
        return self._background

    def _store(self, part: list[TaskRequest[R]], connection: object | None, options: SubmitOptions) -> list[Order[R]]:
        entrance, run = self._door.entrance, self._run
        if connection is None:
            done = run.run(entrance.submit_all(part, None, options))
        else:
            wanted = entrance.wanted(part, options)
            done = entrance.store(connection, wanted, run.run(entrance.prepare(wanted)))
        uncommitted = connection is not None
        return [
            Order(run, PlatformOrder.of(entrance, request, each, uncommitted=uncommitted))
            for request, each in zip(part, done, strict=True)
        ]
