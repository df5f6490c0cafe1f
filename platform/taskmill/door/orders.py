"""Orders of tasks that are in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

import msgspec

from taskmill.controls.request import TaskRequest
from taskmill.door.interface import Order
from taskmill.errors import TaskCancelled, TaskFailed
from taskmill.states import State

if TYPE_CHECKING:
    from taskmill.services.tasks.entrance import Entrance
    from taskmill.services.tasks.submitted import Submitted

R_co = TypeVar("R_co", covariant=True)


class PlatformOrder(Order[R_co], Generic[R_co]):
    """Asks PostgreSQL. `uncommitted`: the transaction of its submit may still be open, so the task may be nowhere yet."""

    def __init__(
        self,
        entrance: Entrance,
        task_id: UUID,
        kind: str,
        *,
        duplicate: bool = False,
        replaced: bool = False,
        read: Callable[[bytes], R_co] = msgspec.json.decode,
        uncommitted: bool = False,
    ) -> None:
        super().__init__(task_id, kind, duplicate=duplicate, replaced=replaced)
        self._entrance = entrance
        self._read = read
        self._uncommitted = uncommitted

    @classmethod
    def of(
        cls, entrance: Entrance, request: TaskRequest[R_co] | str, done: Submitted, *, uncommitted: bool
    ) -> PlatformOrder[R_co]:
        """Return the order of a task that was submitted."""
        read: Any = request.read if isinstance(request, TaskRequest) else msgspec.json.decode
        told = {"duplicate": done.duplicate, "replaced": done.replaced, "uncommitted": uncommitted}
        return cls(entrance, done.id, done.kind, read=read, **told)

    async def status(self) -> State:
        """See `Order.status`."""
        return await self._entrance.state(self.id)

    async def result(self, timeout: float | None = None) -> R_co:  # noqa: ASYNC109 - 见接口
        """See `Order.result`. A result that is not of the declared type raises the error of msgspec or pydantic."""
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                end = await self._entrance.end(self.id, uncommitted=self._uncommitted)
        except TimeoutError as error:
            if not limit.expired():
                raise
            message = f"{self.kind} {self.id} is not final after {timeout:g} s"
            raise TimeoutError(message) from error
        if end.state == State.COMPLETED:
            return self._read(end.result or b"null")
        failed = TaskCancelled if end.state == State.CANCELLED else TaskFailed
        raise failed(self.id, self.kind, None if end.error is None else msgspec.json.decode(end.error))
