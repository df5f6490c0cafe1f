"""What a handler knows of its call: the platform, the caller, the counters, and the names in its path."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.types import Scope

from taskmill.api.telemetry import Telemetry
from taskmill.services.keys import Principal
from taskmill.services.platform import Platform

Call = Request[Principal, Any, State]
# 几个路由共用的路径参数，连同接口说明里的话
TaskId = Annotated[str, Parameter(description="Id of the task, a UUID.", schema_extra={"format": "uuid"})]
QueueName = Annotated[str, Parameter(description="Name of the queue.")]
Fingerprint = Annotated[str, Parameter(description="Fingerprint of a group of failures, 16 hexadecimal digits.")]
KindName = Annotated[str, Parameter(description="Kind of task, such as `report.build`.")]


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of this (lower-case) name, straight from the scope: no mapping of all headers is built."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def platform_of(call: Call) -> Platform:
    """Return the services of this process."""
    platform: Platform = call.app.state.platform
    return platform


def telemetry_of(call: Call) -> Telemetry:
    """Return the metrics of this process."""
    telemetry: Telemetry = call.app.state.telemetry
    return telemetry


def caller(call: Call) -> str:
    """Return who calls, for `created_by` and `paused_by`."""
    return call.scope["user"].name
