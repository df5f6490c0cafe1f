"""What a handler knows of the attempt it runs in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Unpack
from uuid import UUID

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.controls.options import SubmitOptions
from taskmill.controls.request import TaskRequest
from taskmill.log import get_logger

Submit = Callable[..., Awaitable[UUID]]


@dataclass(slots=True)
class TaskContext:
    """Facts of one attempt.

    `id` is the key for deduplication by the handler, `claim_no` the fencing token towards other systems (it only
    grows), `deadline` the UTC time at which the attempt is stopped. `cancelled` turns true when a cancel, a timeout or a
    drain asks the attempt to end; handlers in threads poll it. `result_max_bytes` is the most that a result may have,
    encoded as JSON.
    """

    id: UUID
    kind: str
    queue: str
    claim_no: int
    attempt: int
    max_attempts: int
    deadline: datetime
    meta: Any = None
    tags: tuple[str, ...] = ()
    submitter: Submit | None = None
    cancelled: bool = False
    home: asyncio.AbstractEventLoop | None = None  # worker 的事件循环：提交只能在那里进行
    result_max_bytes: int = c.RESULT_MAX_BYTES
    clock: Clock = SYSTEM_CLOCK  # deadline 是按它说的；测试里是它的假时钟

    @property
    def log(self) -> Any:
        """Return a logger that carries task_id, kind and attempt."""
        return get_logger("taskmill.task").bind(task_id=str(self.id), kind=self.kind, attempt=self.attempt)

    async def submit(self, kind: TaskRequest[Any] | str, args: Any = None, **options: Unpack[SubmitOptions]) -> UUID:
        """Submit a further task, `kind.request(…)` or a kind and its args, and return its id. Errors as of a submit.

        Works in any event loop, also in one that a thread made with `asyncio.run`.
        """
        submitting = self._submitting(kind, args, options)
        if self.home is None or self.home is asyncio.get_running_loop():
            return await submitting
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(submitting, self.home))

    def submit_sync(self, kind: TaskRequest[Any] | str, args: Any = None, **options: Unpack[SubmitOptions]) -> UUID:
        """Submit from a plain function, which runs in a thread; waits for the commit, at most until the deadline.

        Errors as in `submit`; RuntimeError in a coroutine, whose event loop it would block; TimeoutError.
        """
        if self.home is None or _running_loop() is self.home:
            message = "submit_sync is for threads; in a coroutine write `await ctx.submit(…)`"
            raise RuntimeError(message)
        left = max(0.0, (self.deadline - self.clock.now()).total_seconds())
        submitting = asyncio.run_coroutine_threadsafe(self._submitting(kind, args, options), self.home)
        return submitting.result(left)

    async def _submitting(self, kind: TaskRequest[Any] | str, args: Any, options: SubmitOptions) -> UUID:
        if self.submitter is None:
            message = "this context cannot submit tasks"
            raise RuntimeError(message)
        return await self.submitter(kind, args, **options)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
