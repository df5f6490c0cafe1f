"""Each setting of a queue is declared once, and every door has it with the same range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from taskmill.cli.commands.queue import set_policy
from taskmill.controls.queue_settings import SETTINGS, Form, QueuePolicyChange
from taskmill.controls.rate import BOUNDS, Rate
from taskmill.errors import InputError
from taskmill.kube.crd import documents
from taskmill.kube.crd.policy import ELSEWHERE, FIELDS
from taskmill.models.task_queue import TaskQueue
from taskmill.services.queues.policy import QueueView

ROOT = Path(__file__).parents[3]
SPEC: dict[str, Any] = documents.task_queue()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
CRD = SPEC["properties"]["policy"]


def camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(part.title() for part in rest)


def rest_takes(name: str, value: Any) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode({name: value}), type=QueuePolicyChange).check()
    except (InputError, msgspec.ValidationError):
        return False
    return True


@pytest.mark.parametrize("name", SETTINGS)
def test_every_door_has_every_setting(name: str) -> None:
    setting = SETTINGS[name]
    assert name in QueuePolicyChange.__struct_fields__
    assert name in QueueView.__struct_fields__
    assert name in TaskQueue.__table__.columns
    assert setting.option in {option for each in set_policy.params for option in each.opts}
    assert camel(ELSEWHERE.get(name) or FIELDS[name]) in (SPEC if name in ELSEWHERE else CRD)["properties"]
    assert setting.meaning.zh != setting.meaning.en
    assert setting.head.zh != setting.head.en


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.form is not Form.RATE])
def test_rest_and_the_crd_draw_the_line_at_the_same_place(name: str) -> None:
    bound = SETTINGS[name].bound
    assert bound is not None
    field = ELSEWHERE.get(name) or FIELDS[name]
    crd = jsonschema_rs.validator_for((SPEC if name in ELSEWHERE else CRD)["properties"][camel(field)])
    for value in (bound.low - 1, bound.low, bound.high, bound.high + 1):
        assert rest_takes(name, value) is crd.is_valid(value) is (bound.low <= value <= bound.high), value


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.form is Form.RATE])
def test_a_rate_has_the_same_range_in_both_but_for_parts_of_a_second(name: str) -> None:
    crd = jsonschema_rs.validator_for(CRD["properties"][camel(name)])
    for part, bound in BOUNDS.items():
        for value in (0, 1, bound.high, bound.high + 1):
            whole = {"limit": 1, "period_s": 1, "burst": 1, part: int(value)}
            fits = 1 <= value <= bound.high
            assert rest_takes(name, whole) is fits, (part, value)
            assert crd.is_valid({camel(key.replace("_s", "_seconds")): each for key, each in whole.items()}) is fits
    assert rest_takes(name, {"limit": 1, "period_s": 0.5})


def test_a_change_names_what_does_not_fit() -> None:
    with pytest.raises(InputError) as caught:
        QueuePolicyChange(rate=Rate(limit=1, period_s=0)).check()
    assert caught.value.details["field"] == "rate.period_s"


def test_a_change_holds_what_was_given_and_null_for_what_shall_go() -> None:
    change = QueuePolicyChange(max_running=None, rate=Rate(limit=5, period_s=60))
    assert change.values() == {"max_running": None, "rate": {"limit": 5, "period_s": 60, "burst": 5}}
