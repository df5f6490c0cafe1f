"""Tasks: cancel and retry."""

from __future__ import annotations

from litestar import Router, post
from litestar.status_codes import HTTP_200_OK

from taskmill.api import body
from taskmill.api.call import Call, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.api.params import TaskId
from taskmill.errors import Code
from taskmill.services.tasks.view import TaskState


@post(
    "/cancel",
    operation_id="cancelTask",
    summary="Cancel a task",
    status_code=HTTP_200_OK,
    opt={"errors": (Code.TASK_NOT_FOUND, Code.TASK_NOT_CANCELLABLE)},
)
async def cancel(request: Call, task_id: TaskId) -> Envelope[TaskState]:
    """End a waiting task at once; ask a running one to end (`cancel_requested`). A finished one answers 409."""
    await body.refuse_body(request)
    return ok(request, await platform_of(request).tasks.cancel(body.task_id(task_id)))


@post(
    "/retry",
    operation_id="retryTask",
    summary="Run a finished task again",
    status_code=HTTP_200_OK,
    opt={"errors": (Code.TASK_NOT_FOUND, Code.TASK_NOT_RETRYABLE)},
)
async def retry(request: Call, task_id: TaskId) -> Envelope[TaskState]:
    """Bring a finished task back with the same id and fresh budgets. A live one answers 409."""
    await body.refuse_body(request)
    return ok(request, await platform_of(request).tasks.retry(body.task_id(task_id)))


router = Router("/tasks/{task_id:str}", route_handlers=[cancel, retry], tags=["tasks"])
