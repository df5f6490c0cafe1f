"""`spec.policy`: the settings of the queue, made of their one declaration in `controls/queue_settings.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from taskmill import constants as c
from taskmill.controls import rate
from taskmill.controls.queue_settings import SETTINGS, Form, Setting
from taskmill.kube.crd.schema import Record, about, whole

ABSENT: Final = "Absent"
# 保留期在 spec 里早有自己的字段，暂停由 stopPolicy 说
ELSEWHERE: Final[Mapping[str, str]] = {"retention_s": "retention_seconds"}


class Rate(Record, frozen=True, omit_defaults=True):
    """Starts in a time, as a token bucket by PostgreSQL's clock."""

    limit: Annotated[int, whole("Starts in the period.", 1, c.LIMIT_MAX)]
    period_seconds: Annotated[int, whole("Length of the period.", 1, int(rate.PERIOD_S.high))]
    burst: Annotated[int, whole("Most starts at once. Absent: as many as the limit.", 1, c.LIMIT_MAX)] | None = None


def _field(setting: Setting) -> str:
    return f"{setting.stem}_seconds" if setting.form is Form.DURATION else setting.name


FIELDS: Final[Mapping[str, str]] = {name: _field(setting) for name, setting in SETTINGS.items() if name not in ELSEWHERE}


def _hint(setting: Setting) -> Any:
    words, bound = setting.says(ABSENT), setting.bound
    kind: Any = Annotated[Rate, about(words)]
    if bound is not None:
        kind = Annotated[int, whole(words, int(bound.low), int(bound.high))]
    return kind | None


if TYPE_CHECKING:
    Policy = Record
else:
    Policy = msgspec.defstruct(
        "Policy",
        [(field, _hint(SETTINGS[name]), None) for name, field in FIELDS.items()],
        bases=(Record,),
        module=__name__,
        namespace={
            "__doc__": "Settings of the queue in the database. What is said here is the operator's: what somebody sets there instead "
            "is set back. What is taken out here gives the setting back (absent); what was never here is left to others."
        },
        frozen=True,
        kw_only=True,
        rename="camel",
        omit_defaults=True,
    )


def settings(policy: Record) -> dict[str, Any]:
    """Return what a policy says, by the names of the settings."""
    given = {name: getattr(policy, field) for name, field in FIELDS.items()}
    return {name: _rate(value) if isinstance(value, Rate) else value for name, value in given.items() if value is not None}


def only(policy: Record, names: set[str]) -> Record:
    """Return the part of a policy that is about the settings with these names."""
    return Policy(**{field: getattr(policy, field) for name, field in FIELDS.items() if name in names})


def _rate(value: Rate) -> rate.Rate:
    return rate.Rate(limit=value.limit, period_s=float(value.period_seconds), burst=value.burst).whole()
