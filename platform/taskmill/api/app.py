"""The HTTP application: routes, guard, error handlers, and the access log around all of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Litestar, Request, Response, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.routes import HTTPRoute
from litestar.status_codes import HTTP_204_NO_CONTENT

from taskmill import constants as c
from taskmill.api import access_log
from taskmill.api import constants as ac
from taskmill.api.auth import Guard, authorize
from taskmill.api.bodies import Bodies
from taskmill.api.call import Call, caller, platform_of
from taskmill.api.failures import on_error, on_http_error
from taskmill.api.farewell import Farewell
from taskmill.api.handlers import health, routers, schema
from taskmill.api.telemetry import Telemetry
from taskmill.dashboard import constants as dashboard_constants
from taskmill.dashboard import routes as dashboard
from taskmill.dashboard.shared import Site
from taskmill.plugin.context import Submit
from taskmill.services.access import Access
from taskmill.services.platform import Platform


def create_app(
    platform: Platform, *, dev_token: str | None = None, beside_keys: bool = False, telemetry: Telemetry | None = None
) -> Litestar:
    """Build the application. `dev_token` opens it from loopback while no API key exists, with `beside_keys` always."""
    measures = telemetry or Telemetry()
    guards = [authorize]
    app = Litestar(
        route_handlers=[
            Router(c.API_PREFIX, route_handlers=routers(), guards=guards),
            Router("/", route_handlers=[health.metrics_router], guards=[] if platform.settings.metrics_public else guards),
            *_plugin_routers(platform, guards),
            health.open_router,
            schema.static_router(),
            *([dashboard.router()] if platform.settings.dashboard else []),
        ],
        before_request=allow,
        exception_handlers={HTTPException: on_http_error, Exception: on_error},
        openapi_config=schema.config(),
        request_max_body_size=platform.settings.body_max_bytes,
        logging_config=None,
    )
    # 构造之后再放：构造参数会被深拷贝，而连接不能拷贝
    app.state.platform = platform
    app.state.telemetry = measures
    access = Access(platform.keys, dev_token, beside_keys=beside_keys)
    app.state.guard = Guard(access)
    app.state.farewell = Farewell()
    if platform.settings.dashboard:
        app.state.dashboard = Site(platform, access)
        app.state.farewell.streams.append(app.state.dashboard.pulse.close)
    access_log.install(app, measures.request, Bodies(platform.settings.api_bodies_max_bytes), app.state.farewell)
    return app


def one_time_link(app: Litestar, url: str) -> str | None:
    """Return an address of the dashboard that logs in once, for a process whose API is at `url`; None if it serves no dashboard."""
    site: Site | None = app.state.get("dashboard")
    return None if site is None else f"{url}{dashboard_constants.ROOT}/login?token={site.links.make()}"


async def allow(request: Call) -> Response[None] | None:
    """Answer OPTIONS with every method of the path: Litestar's own answer knows those of one handler only."""
    if request.method != "OPTIONS":
        return None
    methods = {
        method
        for route in request.app.routes
        if isinstance(route, HTTPRoute) and route.path_format == request.scope["path_template"]
        for method in route.methods
    }
    return Response(None, status_code=HTTP_204_NO_CONTENT, headers={"Allow": ", ".join(sorted(methods))})


def _plugin_routers(platform: Platform, guards: list[Any]) -> list[Router]:
    routers: list[Router] = []
    for name, handlers in platform.host.routes().items():
        try:
            _router(name, handlers, guards, platform.settings.body_max_bytes)  # 先单独试：一个插件的坏路由不能让接口起不来
        except Exception as error:  # noqa: BLE001 - 插件可能给出任何东西
            platform.host.fail(name, error)
            continue
        routers.append(_mounted(name, handlers, guards))
    return routers


def _router(name: str, handlers: list[Any], guards: list[Any], limit: int) -> None:
    Litestar([_mounted(name, handlers, guards)], request_max_body_size=limit, logging_config=None)


def _mounted(name: str, handlers: list[Any], guards: list[Any]) -> Router:
    return Router(
        f"{ac.PLUGINS_PREFIX}{name}",
        route_handlers=list(handlers),
        guards=guards,
        tags=[f"plugin {name}"],
        dependencies={"submit": Provide(_submitter, sync_to_thread=False)},
    )


def _submitter(request: Request[Any, Any, Any]) -> Submit:
    """插件路由里名叫 submit 的参数：以调用者的名义提交。"""
    return partial(platform_of(request).submit.submit_kind, created_by=caller(request))
