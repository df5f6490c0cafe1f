"""Which schedules are sound, whoever brings them: a client, a plugin or an object of the cluster."""

from __future__ import annotations

from taskmill import bounds, naming, reasons
from taskmill import constants as c
from taskmill.errors import Code, InputError
from taskmill.ids import as_id
from taskmill.timetable.timetable import Timetable
from taskmill.words import Words


def check_schedule(name: str, timetable: Timetable, catch_up_s: float) -> None:
    """Raise InputError SCHEDULE_INVALID unless name, timetable and catch-up window (seconds) are sound."""
    if not naming.is_schedule(name):
        raise _refuse("name", reasons.SCHEDULE_NAME(limit=c.NAME_MAX_CHARS))
    if as_id(name) is not None:
        raise _refuse("name", reasons.LIKE_AN_ID)
    if (reason := bounds.CATCH_UP_S.refusal(catch_up_s)) is not None:
        raise _refuse("catch_up_s", reason)
    timetable.check_new()


def _refuse(field: str, reason: Words) -> InputError:
    return InputError(Code.SCHEDULE_INVALID, field=field, reason=reason)
