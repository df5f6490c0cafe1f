"""Liveness, readiness and metrics: outside the prefix."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get

from taskmill import __version__
from taskmill.api.call import Call, platform_of, telemetry_of
from taskmill.api.envelope import Envelope, ok
from taskmill.errors import Code
from taskmill.log import get_logger
from taskmill.services.faults import translate, why
from taskmill.services.health import Readiness
from taskmill.states import LIVE

log = get_logger(__name__)
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    version: str
    alive: bool = True


@get("/healthz", operation_id="getHealth", summary="Is the process alive")
async def healthz(request: Call) -> Envelope[Alive]:
    """Answer without touching any dependency."""
    return ok(request, Alive(version=__version__))


@get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can the process serve",
    opt={"errors": (Code.DATABASE_UNAVAILABLE, Code.SCHEMA_BEHIND, Code.SCHEMA_AHEAD)},
)
async def readyz(request: Call) -> Envelope[Readiness]:
    """Name each dependency with its latency; 503 if PostgreSQL is away or its schema does not fit."""
    report, error = await platform_of(request).health.readiness()
    if error is None:
        return ok(request, report)
    error.details["readiness"] = msgspec.to_builtins(report)
    raise error


@get("/metrics", operation_id="getMetrics", summary="Prometheus metrics", media_type=EXPOSITION, opt={"exposition": True})
async def metrics(request: Call) -> Response[bytes]:
    """Return all metrics in the Prometheus text format; while the database is away, those of the process only."""
    platform, telemetry = platform_of(request), telemetry_of(request)
    try:
        counts = await platform.backlog.counts()
        telemetry.backlog(
            {(queue, state.value): getattr(found, state) for queue, found in counts.items() for state in LIVE},
            {queue: found.oldest_wait_s for queue, found in counts.items()},
        )
        telemetry.processes(await platform.workers.counts(), await platform.workers.schedulers())
    except Exception as error:
        if (known := translate(error)) is None:
            raise
        log.warning("指标缺少数据库部分", error=why(known))
        telemetry.forget()
    return Response(telemetry.render(), media_type=EXPOSITION)


open_router = Router("/", route_handlers=[healthz, readyz], tags=["health"], opt={"about": "Probes and metrics"})
metrics_router = Router("/", route_handlers=[metrics], tags=["health"])
