"""The numbers by which workers are scaled."""

from __future__ import annotations

from litestar import Router, get

from taskmill.api import body
from taskmill.api.call import Call, QueueName, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.services.queues.backlog import Scaling


@get("/scaling/{queue:str}", operation_id="getScaling", summary="Backlog numbers of a queue")
async def scaling(request: Call, queue: QueueName) -> Envelope[Scaling]:
    """Return numbers for autoscalers; unknown queues answer zeros, so that a scaler never sees a gap."""
    return ok(request, await platform_of(request).backlog.scaling(body.name(queue, "queue")))


router = Router("/", route_handlers=[scaling], tags=["scaling"], opt={"about": "Numbers for autoscalers"})
