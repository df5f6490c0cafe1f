"""What a handler knows of its call: the platform, the caller, the counters."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.datastructures import State
from litestar.types import Scope

from taskmill.services.keys import Principal
from taskmill.services.platform import Platform
from taskmill.telemetry import Telemetry

Call = Request[Principal, Any, State]


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
