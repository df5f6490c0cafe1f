"""Tasks: submit, read, cancel, retry and skip."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from taskmill.api import body, once, task_body
from taskmill.api.call import Call, TaskId, caller, platform_of, telemetry_of
from taskmill.api.envelope import Envelope, ok
from taskmill.api.task_body import Batch
from taskmill.clock import Timestamp, rfc3339
from taskmill.errors import Code
from taskmill.services.page import Page
from taskmill.services.tasks.explain.fate import TaskExplain
from taskmill.services.tasks.service import TaskFilter
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.services.tasks.submitted import Submitted
from taskmill.services.tasks.view import TaskAttemptView, TaskDetail, TaskResult, TaskState, TaskSummary
from taskmill.states import State


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is stored: it will run whatever happens to this process.

    A `duplicate` was not stored: `id` is the task that has its unique key, with its state and time (null once it is
    pruned); `replaced` says that it got the args and the time of this one.
    """

    id: UUID
    kind: str
    queue: str
    state: State | None
    run_at: Timestamp | None
    duplicate: bool = False
    replaced: bool = False


class AcceptedItem(Accepted, frozen=True, kw_only=True):
    """A task of a batch; `index` is its place in the request."""

    index: int


class AcceptedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of a batch in the order of the request."""

    items: list[AcceptedItem]
    count: int


class Attempts(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that did not complete, the oldest first."""

    items: list[TaskAttemptView]


SUBMIT_ERRORS = (
    Code.ARGS_INVALID,
    Code.ARGS_TOO_DEEP,
    Code.ARGS_TOO_LARGE,
    Code.INVALID_REQUEST,
    Code.KIND_NOT_FOUND,
    Code.SUBMIT_BUSY,
    Code.UNIQUE_BUSY,
    Code.UNIQUE_TAKEN,
    Code.IDEMPOTENCY_CONFLICT,
    Code.QUEUE_FULL,
    Code.PARENT_NOT_FOUND,
    Code.SEQUENCE_BUSY,
)

EXPLAINED = {
    "id": "0190a5c8-7d3f-7aaa-8000-000000000001",
    "kind": "mail.send",
    "queue": "mail",
    "state": "available",
    "asked_at": "2026-11-29T20:30:00.000Z",
    "waiting": [
        {
            "code": "QUEUE_PAUSED",
            "message": {
                "zh": "队列 mail 已暂停：ops，自 2026-11-29T20:10:00.000Z",
                "en": "the queue mail is paused: by ops since 2026-11-29T20:10:00.000Z",
            },
            "facts": {"queue": "mail", "by": "ops", "since": "2026-11-29T20:10:00.000Z"},
            "next": ["taskmill queue resume mail"],
        }
    ],
    "fate": [],
}


@post(
    "/",
    operation_id="submitTask",
    summary="Submit one task",
    opt={"body": SubmitRequest, "errors": SUBMIT_ERRORS, "also": HTTP_200_OK},
)
async def submit(request: Call) -> Envelope[Accepted]:
    """Store one task; once this is answered, it runs at least once. 200 instead of 201: a duplicate, nothing was stored."""
    platform = platform_of(request)
    # 不留名字：解码后的参数比正文大许多倍，等提交时不必占着
    wanted = [await task_body.one(request, platform.settings)]
    done = await platform.submit.submit(wanted.pop(), created_by=caller(request), once=once.once_of(request))
    answer = ok(request, Accepted(**_accepted(done)))
    status = HTTP_200_OK if done.duplicate else HTTP_201_CREATED
    if done.repeated:
        return once.repeated(answer, status)
    if done.duplicate:
        return cast("Envelope[Accepted]", Response(answer, status_code=status))
    telemetry_of(request).submitted((done.queue,))
    return answer


@post(
    "/batch",
    operation_id="submitTasks",
    summary="Submit many tasks, all or none",
    opt={"body": Batch, "errors": (*SUBMIT_ERRORS, Code.BATCH_TOO_LARGE)},
)
async def submit_batch(request: Call) -> Envelope[AcceptedBatch]:
    """Store all tasks in one transaction; an error names the `index` of the task in `details`."""
    platform = platform_of(request)
    batch = await task_body.many(request, platform.settings)
    done = await platform.submit.submit_many(batch, created_by=caller(request), once=once.once_of(request))
    items = [AcceptedItem(index=index, **_accepted(task)) for index, task in enumerate(done)]
    answer = ok(request, AcceptedBatch(items=items, count=len(items)))
    if any(task.repeated for task in done):
        return once.repeated(answer, HTTP_201_CREATED)
    telemetry_of(request).submitted(task.queue for task in done if not task.duplicate)
    return answer


@get("/", operation_id="listTasks", summary="List tasks, newest first", opt={"query": TaskFilter})
async def list_tasks(request: Call) -> Envelope[Page[TaskSummary]]:
    """Filter live and finished tasks; args and meta are left out, get one task to see them."""
    return ok(request, await platform_of(request).tasks.list(body.read_query(request, TaskFilter)))


@get("/{task_id:str}", operation_id="getTask", summary="Get one task", opt={"errors": (Code.TASK_NOT_FOUND,)})
async def get_task(request: Call, task_id: TaskId) -> Envelope[TaskDetail]:
    """Return a task, live or finished, with its args and its last error."""
    return ok(request, await platform_of(request).tasks.get(body.task_id(task_id)))


@get(
    "/{task_id:str}/explain",
    operation_id="explainTask",
    summary="Say why a task is not running",
    opt={"errors": (Code.TASK_NOT_FOUND,), "example": EXPLAINED},
)
async def explain(request: Call, task_id: TaskId) -> Envelope[TaskExplain]:
    """Return why a waiting task does not run yet, each reason with its facts and the next step; or what became of it."""
    return ok(request, await platform_of(request).tasks.explain(body.task_id(task_id)))


@get(
    "/{task_id:str}/attempts",
    operation_id="listTaskAttempts",
    summary="List the failed attempts of a task",
    opt={"errors": (Code.TASK_NOT_FOUND,)},
)
async def attempts(request: Call, task_id: TaskId) -> Envelope[Attempts]:
    """Return every attempt that did not complete, with its error and traceback."""
    return ok(request, Attempts(items=await platform_of(request).tasks.attempts(body.task_id(task_id))))


@get(
    "/{task_id:str}/result",
    operation_id="getTaskResult",
    summary="Get the result of a finished task",
    opt={"errors": (Code.TASK_NOT_FOUND, Code.RESULT_NOT_READY)},
)
async def result(request: Call, task_id: TaskId) -> Envelope[TaskResult]:
    """Return what the handler returned, or the error that ended the task; a live task answers 409."""
    return ok(request, await platform_of(request).tasks.result(body.task_id(task_id)))


@post(
    "/{task_id:str}/cancel",
    operation_id="cancelTask",
    summary="Cancel a task",
    status_code=HTTP_200_OK,
    opt={"errors": (Code.TASK_NOT_FOUND, Code.TASK_NOT_CANCELLABLE)},
)
async def cancel(request: Call, task_id: TaskId) -> Envelope[TaskState]:
    """End a waiting task at once; ask a running one to end (`cancel_requested`). A finished one answers 409."""
    await body.refuse_body(request)
    return await once.answered(request, TaskState, lambda: platform_of(request).tasks.cancel(body.task_id(task_id)))


@post(
    "/{task_id:str}/retry",
    operation_id="retryTask",
    summary="Run a finished task again",
    status_code=HTTP_200_OK,
    opt={"errors": (Code.TASK_NOT_FOUND, Code.TASK_NOT_RETRYABLE, Code.UNIQUE_TAKEN)},
)
async def retry(request: Call, task_id: TaskId) -> Envelope[TaskState]:
    """Bring a finished task back with the same id and fresh budgets. A live one answers 409."""
    await body.refuse_body(request)
    return await once.answered(request, TaskState, lambda: platform_of(request).tasks.retry(body.task_id(task_id)))


@post(
    "/{task_id:str}/skip",
    operation_id="skipTask",
    summary="Let a sequence go on that a failed task stops",
    status_code=HTTP_200_OK,
    opt={"errors": (Code.TASK_NOT_FOUND, Code.TASK_NOT_SKIPPABLE)},
)
async def skip(request: Call, task_id: TaskId) -> Envelope[TaskState]:
    """Let those behind a failed task have their turn; the task stays failed. One that stops no sequence answers 409."""
    await body.refuse_body(request)
    return await once.answered(request, TaskState, lambda: platform_of(request).tasks.skip(body.task_id(task_id)))


def _accepted(done: Submitted) -> dict[str, Any]:
    return {
        "id": done.id,
        "kind": done.kind,
        "queue": done.queue,
        "state": None if done.state is None else State(done.state),
        "run_at": None if done.run_at is None else rfc3339(done.run_at),
        "duplicate": done.duplicate,
        "replaced": done.replaced,
    }


router = Router(
    "/tasks",
    route_handlers=[submit, submit_batch, list_tasks, get_task, explain, attempts, result, cancel, retry, skip],
    tags=["tasks"],
    opt={"about": "Units of durable work"},
)
