"""Schedules: make, change, pause, run by hand, look ahead."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from litestar import Router, delete, get, post, put
from litestar.params import Parameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from taskmill import constants as c
from taskmill.api import body, once, task_body
from taskmill.api import constants as ac
from taskmill.api.call import Call, caller, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.clock import Timestamp
from taskmill.errors import Code
from taskmill.services.page import Page, Paging
from taskmill.services.schedules.service import ScheduleRequest, ScheduleRun, ScheduleService, ScheduleView


class FiresQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the look ahead."""

    count: Annotated[int, msgspec.Meta(ge=1, le=c.NEXT_FIRES_MAX, description="How many fires.")] = ac.NEXT_FIRES_DEFAULT


class Fires(msgspec.Struct, frozen=True, kw_only=True):
    """Times of coming fires, ascending."""

    items: list[Timestamp]


ScheduleKey = Annotated[str, Parameter(description="Id or name of the schedule.")]
UNKNOWN = {"errors": (Code.SCHEDULE_NOT_FOUND,)}
INPUT_ERRORS = (Code.SCHEDULE_INVALID, Code.SCHEDULE_EXISTS, Code.ARGS_INVALID, Code.ARGS_TOO_LARGE, Code.KIND_NOT_FOUND)
_REQUEST = msgspec.json.Decoder(ScheduleRequest)


@post(
    "/",
    operation_id="createSchedule",
    summary="Create a schedule",
    opt={"body": ScheduleRequest, "errors": INPUT_ERRORS},
)
async def create(request: Call) -> Envelope[ScheduleView]:
    """Make a schedule; it fires from its next time on."""
    platform = platform_of(request)
    wanted = await task_body.with_args(request, platform.settings, _REQUEST)
    work = partial(_service(request).create, wanted, created_by=caller(request))
    return await once.answered(request, ScheduleView, work, HTTP_201_CREATED)


@get("/", operation_id="listSchedules", summary="List schedules", opt={"query": Paging})
async def list_schedules(request: Call) -> Envelope[Page[ScheduleView]]:
    """Return schedules by name."""
    return ok(request, await _service(request).list(body.read_query(request, Paging)))


@get("/{schedule:str}", operation_id="getSchedule", summary="Get one schedule", opt=UNKNOWN)
async def get_schedule(request: Call, schedule: ScheduleKey) -> Envelope[ScheduleView]:
    """Return a schedule with its last and next fire."""
    return ok(request, await _service(request).get(_key(schedule)))


@put(
    "/{schedule:str}",
    operation_id="updateSchedule",
    summary="Replace a schedule",
    opt={"body": ScheduleRequest, "errors": (*INPUT_ERRORS, Code.SCHEDULE_NOT_FOUND, Code.SCHEDULE_OWNED)},
)
async def update(request: Call, schedule: ScheduleKey) -> Envelope[ScheduleView]:
    """Replace it; its pause stays, and its next fire if the timetable is the same."""
    platform = platform_of(request)
    wanted = await task_body.with_args(request, platform.settings, _REQUEST)
    return ok(request, await _service(request).update(_key(schedule), wanted, by=caller(request)))


@delete("/{schedule:str}", operation_id="deleteSchedule", summary="Delete a schedule", status_code=HTTP_200_OK, opt=UNKNOWN)
async def remove(request: Call, schedule: ScheduleKey) -> Envelope[ScheduleView]:
    """Remove it and return it as it was; the tasks it made stay."""
    return ok(request, await _service(request).delete(_key(schedule), by=caller(request)))


@post(
    "/{schedule:str}/pause", operation_id="pauseSchedule", summary="Pause a schedule", status_code=HTTP_200_OK, opt=UNKNOWN
)
async def pause(request: Call, schedule: ScheduleKey) -> Envelope[ScheduleView]:
    """Let it fire no more until it is resumed."""
    await body.refuse_body(request)
    work = partial(_service(request).pause, _key(schedule), by=caller(request))
    return await once.answered(request, ScheduleView, work)


@post(
    "/{schedule:str}/resume",
    operation_id="resumeSchedule",
    summary="Resume a schedule",
    status_code=HTTP_200_OK,
    opt=UNKNOWN,
)
async def resume(request: Call, schedule: ScheduleKey) -> Envelope[ScheduleView]:
    """Let it fire again from its next time on; what lay in the pause is not made up for."""
    await body.refuse_body(request)
    work = partial(_service(request).resume, _key(schedule), by=caller(request))
    return await once.answered(request, ScheduleView, work)


@post(
    "/{schedule:str}/run",
    operation_id="runSchedule",
    summary="Submit the task of a schedule at once",
    opt={
        "errors": (
            Code.SCHEDULE_NOT_FOUND,
            Code.ARGS_INVALID,
            Code.KIND_NOT_FOUND,
            Code.QUEUE_LIMIT,
            Code.UNIQUE_BUSY,
            Code.UNIQUE_TAKEN,
        )
    },
)
async def run(request: Call, schedule: ScheduleKey) -> Envelope[ScheduleRun]:
    """Submit its task now, paused or not; its timetable does not change. Names the one that is there if the kind is unique."""
    await body.refuse_body(request)
    service = _service(request)
    work = partial(service.run, _key(schedule), by=caller(request), once=once.once_of(request))
    return await once.answered(request, ScheduleRun, work, HTTP_201_CREATED, kept=True)


@get(
    "/{schedule:str}/next",
    operation_id="listScheduleFires",
    summary="List the coming fires",
    opt={"query": FiresQuery, **UNKNOWN},
)
async def upcoming(request: Call, schedule: ScheduleKey) -> Envelope[Fires]:
    """Return when it fires next; for a paused one, as if it were resumed now."""
    count = body.read_query(request, FiresQuery).count
    return ok(request, Fires(items=await _service(request).next(_key(schedule), count)))


def _service(request: Call) -> ScheduleService:
    platform = platform_of(request)
    return ScheduleService(platform.database, platform.submit)


def _key(text: str) -> str:
    return body.name(text, "schedule")


router = Router(
    "/schedules",
    route_handlers=[create, list_schedules, get_schedule, update, remove, pause, resume, run, upcoming],
    tags=["schedules"],
    opt={"about": "Timetables that submit tasks"},
)
