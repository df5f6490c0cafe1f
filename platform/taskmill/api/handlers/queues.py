"""Queues."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Router, delete, get, post, put
from litestar.status_codes import HTTP_200_OK

from taskmill.api import body, once
from taskmill.api.call import Call, QueueName, caller, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.errors import Code
from taskmill.services.page import Page, Paging
from taskmill.services.queues.policy import QueueView

UNKNOWN = {"errors": (Code.QUEUE_NOT_FOUND,)}


class PutQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of a change."""

    dry_run: Annotated[
        Literal["true", "false"], msgspec.Meta(description="Write nothing; `preview` in the answer tells what it would do.")
    ] = "false"


_CHANGE = msgspec.json.Decoder(QueuePolicyChange)


@get("/queues", operation_id="listQueues", summary="List queues", opt={"query": Paging})
async def list_queues(request: Call) -> Envelope[Page[QueueView]]:
    """Return queues by name; a queue appears with its first task, or when its policy is set."""
    return ok(request, await platform_of(request).queues.list(body.read_query(request, Paging)))


@get("/queues/{queue:str}", operation_id="getQueue", summary="Get one queue", opt=UNKNOWN)
async def get_queue(request: Call, queue: QueueName) -> Envelope[QueueView]:
    """Return a queue with its live tasks by state."""
    return ok(request, await platform_of(request).queues.get(body.name(queue, "queue")))


@put(
    "/queues/{queue:str}",
    operation_id="putQueue",
    summary="Set the policy of a queue",
    opt={
        "body": QueuePolicyChange,
        "query": PutQuery,
        "errors": (Code.INVALID_REQUEST, Code.MALFORMED_JSON, Code.BODY_TOO_LARGE, Code.QUEUE_LIMIT),
    },
)
async def put_queue(request: Call, queue: QueueName) -> Envelope[QueueView]:
    """Pause or resume it, and set its limits and how long its finished tasks are kept; it is made if it is unknown.

    A field that is left out stays as it is, null takes a setting away. With a retention of 0 results cannot be read.
    `?dry_run=true` writes nothing and answers what the change would do to the backlog as it stands.
    """
    platform = platform_of(request)
    dry = body.read_query(request, PutQuery).dry_run == "true"
    change = await body.read_json(request, _CHANGE, platform.settings.body_max_bytes)
    if dry:
        return ok(request, await platform.queues.preview(body.name(queue, "queue"), change, by=caller(request)))
    return ok(request, await platform.queues.put(body.name(queue, "queue"), change, by=caller(request)))


@delete(
    "/queues/{queue:str}",
    operation_id="deleteQueue",
    summary="Delete a queue",
    status_code=HTTP_200_OK,
    opt={"errors": (Code.QUEUE_NOT_FOUND, Code.QUEUE_NOT_EMPTY)},
)
async def delete_queue(request: Call, queue: QueueName) -> Envelope[QueueView]:
    """Delete a queue that has no live task, with its policy; finished tasks stay, and a later task makes it anew."""
    await body.refuse_body(request)
    return ok(request, await platform_of(request).queues.delete(body.name(queue, "queue"), by=caller(request)))


@post("/queues/{queue:str}/pause", operation_id="pauseQueue", summary="Pause a queue", status_code=HTTP_200_OK, opt=UNKNOWN)
async def pause(request: Call, queue: QueueName) -> Envelope[QueueView]:
    """Let no further task of the queue start; running ones go on, new ones are accepted."""
    await body.refuse_body(request)
    name = body.name(queue, "queue")
    return await once.answered(request, QueueView, lambda: platform_of(request).queues.pause(name, by=caller(request)))


@post(
    "/queues/{queue:str}/resume",
    operation_id="resumeQueue",
    summary="Resume a queue",
    status_code=HTTP_200_OK,
    opt=UNKNOWN,
)
async def resume(request: Call, queue: QueueName) -> Envelope[QueueView]:
    """Let the tasks of the queue start again."""
    await body.refuse_body(request)
    name = body.name(queue, "queue")
    return await once.answered(request, QueueView, lambda: platform_of(request).queues.resume(name, by=caller(request)))


router = Router(
    "/",
    route_handlers=[list_queues, get_queue, put_queue, delete_queue, pause, resume],
    tags=["queues"],
    opt={"about": "Lanes of tasks"},
)
