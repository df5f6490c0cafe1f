"""The routes of the dashboard, to be mounted by the application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import Response, Router, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.status_codes import HTTP_307_TEMPORARY_REDIRECT

from taskmill.dashboard import constants as dc
from taskmill.dashboard.access import signed_in
from taskmill.dashboard.failures import on_error
from taskmill.dashboard.handlers import (
    door,
    failures,
    live,
    names,
    overview,
    plant,
    plugin_pages,
    queues,
    schedules,
    submit,
    task_actions,
    tasks,
)
from taskmill.dashboard.visit import Visit, address

PAGES = [
    tasks.tasks,
    submit.form,
    submit.submit,
    tasks.task,
    tasks.download,
    task_actions.selected,
    task_actions.act,
    failures.failures,
    failures.failure,
    failures.newest,
    failures.act,
    queues.queues,
    queues.queue,
    queues.act,
    schedules.schedules,
    schedules.act,
    plant.workers,
    plant.plugins,
    plant.system,
    plugin_pages.plugin_page,
    live.events,
    names.names,
    door.logout,
]
OPEN = [door.form, door.login, door.preferences, live.static]


@get(["/", "/{path:path}"])
async def root(request: Visit, path: Path | None = None) -> Response[Any]:
    """概览; and whatever is not there is answered with a page, not with an envelope.

    Without its last slash relative links would lead outside, so it is put there first.
    """
    if path is not None and path.as_posix().strip("/"):
        raise NotFoundException(path.as_posix())
    if not address(request).endswith("/"):
        place = f"{dc.ROOT.removeprefix('/')}/"
        return Response(None, status_code=HTTP_307_TEMPORARY_REDIRECT, headers={"Location": place})
    return await overview.overview(request)


def router() -> Router:
    """Return the router of all pages."""
    guarded = Router("/", route_handlers=[root, *PAGES], guards=[signed_in])
    return Router(
        dc.ROOT,
        route_handlers=[guarded, *OPEN],
        exception_handlers={HTTPException: on_error, Exception: on_error},
        include_in_schema=False,
    )
