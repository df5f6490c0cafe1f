"""The order of a task in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from taskmill.door.interface import Order
from taskmill.errors import Code, NotFoundError, TaskCancelled, TaskFailed
from taskmill.states import FINAL, State
from taskmill.testing import reasons as tr
from taskmill.testing.memory import Memory, Row, decoded
from taskmill.words import said


class MemoryOrder(Order[Any]):
    """An order whose task runs in the test's own loop: there is nothing to wait for, it is final or it is not."""

    def __init__(
        self,
        memory: Memory,
        task_id: UUID,
        kind: str,
        read: Callable[[bytes], Any],
        *,
        duplicate: bool = False,
        replaced: bool = False,
    ) -> None:
        super().__init__(task_id, kind, duplicate=duplicate, replaced=replaced)
        self._memory = memory
        self._read = read

    async def status(self) -> State:
        """Return its state."""
        return self._row()["state"]

    async def result(self, timeout: float | None = None) -> Any:  # noqa: ARG002, ASYNC109 - 门的签名
        """Return what the handler returned; TimeoutError at once, whatever the timeout, if the task is not final."""
        row = self._row()
        if row["state"] not in FINAL:
            told = tr.NOT_FINAL(id=self.id, kind=row["kind"], state=row["state"])
            raise TimeoutError(said(told))
        if row["state"] is State.COMPLETED:
            return self._read(row["result"] or b"null")
        failure = TaskCancelled if row["state"] is State.CANCELLED else TaskFailed
        raise failure(self.id, row["kind"], decoded(row["error"]))

    def _row(self) -> Row:
        if self.id not in self._memory.rows:
            raise NotFoundError(Code.TASK_NOT_FOUND, id=str(self.id))
        return self._memory.rows[self.id]
