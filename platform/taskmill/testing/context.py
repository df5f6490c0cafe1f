"""A context for unit tests of handlers: the real type, with a clock of the test's own, and all that it was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Unpack
from uuid import UUID

import structlog

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, FakeClock
from taskmill.controls.options import SubmitOptions
from taskmill.controls.request import TaskRequest
from taskmill.ids import new_id
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition
from taskmill.services.tasks.submit_request import SubmitRequest, check_request, request_of


@dataclass(slots=True)
class CapturedContext(TaskContext):
    """A context of a handler under test.

    `submitted` are the requests of `ctx.submit`, checked as far as that goes without the kinds; `logged` the lines of
    `ctx.log`, each a dict with `event`, `log_level` and the facts. `fake` is the clock that `deadline` is told by.
    """

    fake: FakeClock = field(default_factory=FakeClock)
    submitted: list[SubmitRequest] = field(default_factory=list[SubmitRequest])
    logged: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def log(self) -> Any:
        """Return a logger that keeps its lines in `logged`."""
        logger = structlog.wrap_logger(None, processors=[self._keep], wrapper_class=structlog.stdlib.BoundLogger)
        return logger.bind(task_id=str(self.id), kind=self.kind, attempt=self.attempt)

    async def submit(self, kind: TaskRequest[Any] | str, args: Any = None, **options: Unpack[SubmitOptions]) -> UUID:
        """Keep the request and return an id. Errors: InputError, if that would be refused whatever the kind is."""
        return self.submit_sync(kind, args, **options)

    def submit_sync(self, kind: TaskRequest[Any] | str, args: Any = None, **options: Unpack[SubmitOptions]) -> UUID:
        """The same for a plain handler, which a test calls in its own thread."""
        request = request_of(kind, args, options)
        check_request(request)
        self.submitted.append(request)
        return new_id()

    def _keep(self, _logger: Any, level: str, line: Any) -> Any:
        self.logged.append({**line, "log_level": level})
        raise structlog.DropEvent


def make_context(
    kind: str | TaskDefinition[..., Any] = "any.kind",
    *,
    id: UUID | None = None,  # noqa: A002 - 与字段同名
    queue: str | None = None,
    claim_no: int = 1,
    attempt: int = 1,
    max_attempts: int | None = None,
    timeout_s: float | None = None,
    meta: Any = None,
    tags: tuple[str, ...] = (),
    cancelled: bool = False,
    clock: FakeClock | None = None,
    result_max_bytes: int = c.RESULT_MAX_BYTES,
) -> CapturedContext:
    """Return the context of an attempt, by default the first of some task; no server, no worker.

    With a definition its queue, attempts and timeout are those of the kind. `clock` starts now by the clock of the system,
    so that `ctx.deadline` is `timeout_s` ahead for handlers that look at that clock.
    """
    definition = kind if isinstance(kind, TaskDefinition) else None
    fake = clock or FakeClock(SYSTEM_CLOCK.now())
    if timeout_s is None:
        timeout_s = c.TIMEOUT_DEFAULT_S if definition is None else definition.timeout_s
    return CapturedContext(
        id=id or new_id(),
        kind=kind if definition is None else definition.kind,  # pyright: ignore[reportArgumentType]
        queue=queue or (c.QUEUE_DEFAULT if definition is None else definition.queue),
        claim_no=claim_no,
        attempt=attempt,
        max_attempts=max_attempts or (c.MAX_ATTEMPTS_DEFAULT if definition is None else definition.retry.max_attempts),
        deadline=fake.now() + timedelta(seconds=timeout_s),
        meta=meta,
        tags=tags,
        cancelled=cancelled,
        result_max_bytes=result_max_bytes,
        clock=fake,
        fake=fake,
    )
