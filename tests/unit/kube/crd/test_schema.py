"""The API server and we accept the same: at each edge of each field, whatever the CRD allows the model takes, no more."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema_rs
import msgspec
import pytest
import yaml

from taskmill import constants as c
from taskmill.kube.crd import documents
from taskmill.kube.crd.check import InvalidSpec, check, convert
from taskmill.kube.crd.schema import Record, about, schema_of, text, whole
from taskmill.kube.crd.status import QueueStatus
from taskmill.kube.crd.task_queue import TaskQueueSpec
from taskmill.kube.crd.task_schedule import ScheduleStatus, TaskScheduleSpec

SAMPLES = Path(__file__).parents[4] / "examples" / "kubernetes"
ODD = ["", "a", "A", "-a", "a-", "a b", "a\n", "a.b", "_a", "9", "0%", "100%", "101%", "1Gi", "1gi", "a/b", "日"]
Path_ = tuple[str | int, ...]


def sample(kind: str) -> dict[str, Any]:
    """The spec of the fullest sample of a kind."""
    found = [
        each
        for file in SAMPLES.rglob("*.yaml")
        for each in yaml.safe_load_all(file.read_text())
        if each and each["kind"] == kind
    ]
    return max((each["spec"] for each in found), key=lambda spec: len(str(spec)))


def root(crd: dict[str, Any], part: str) -> dict[str, Any]:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]


def leaves(schema: dict[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """Every field that holds a text, a number or a truth, with its path; 0 stands for the first item of a list."""
    for name, field in schema.get("properties", {}).items():
        yield from leaves(field, (*path, name))
    if "items" in schema:
        yield from leaves(schema["items"], (*path, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from leaves(schema["additionalProperties"], (*path, "key"))
    if schema.get("type") not in {"object", "array"}:
        yield path, schema


def edges(field: dict[str, Any]) -> Iterator[Any]:
    """Values on both sides of each bound of a field, and of kinds that it does not take."""
    for key in ("minimum", "maximum"):
        if key in field:
            yield from (field[key] - 1, field[key], field[key] + 1)
    if "maxLength" in field:
        yield from ("a" * field["maxLength"], "a" * (field["maxLength"] + 1), "1" * field["maxLength"])
    yield from (*field.get("enum", ()), *ODD, True, 1, 1.5)


def put(spec: dict[str, Any], schema: dict[str, Any], path: Path_, value: Any) -> None:
    """Set a value, and what its parents need to be whole."""
    node: Any = spec
    for place, step in enumerate(path):
        schema = (
            schema["items"] if step == 0 else (schema.get("properties") or {"key": schema.get("additionalProperties")})[step]
        )
        if place == len(path) - 1:
            node[step] = value
        elif step == 0:
            node[:] = node[:1] or [{}]
            node = node[0]
        else:
            node = node.setdefault(step, [] if "items" in schema else {})
        if isinstance(node, dict) and place < len(path) - 1:
            for needed in schema.get("required", ()):
                node.setdefault(needed, 1 if schema["properties"][needed]["type"] == "integer" else "a")


def taken(record: type[msgspec.Struct], value: dict[str, Any]) -> bool:
    """Whether the model takes it; what only a rule over several fields refuses has fitting fields."""
    try:
        made = convert(value, record, "spec")
        for name, shape in record.SHAPES.items():
            convert(getattr(made, name), list[shape], name)
        if isinstance(made, Record):
            check(made, "spec")
    except InvalidSpec as error:
        return any(rule in str(error) for rule in RULES)
    return True


def messages(schema: dict[str, Any]) -> Iterator[str]:
    yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
    for field in schema.get("properties", {}).values():
        yield from messages(field)
    if "items" in schema:
        yield from messages(schema["items"])


PARTS: list[tuple[type[msgspec.Struct], dict[str, Any], dict[str, Any]]] = [
    (TaskQueueSpec, root(documents.task_queue(), "spec"), sample("TaskQueue")),
    (TaskScheduleSpec, root(documents.task_schedule(), "spec"), sample("TaskSchedule")),
    (QueueStatus, root(documents.task_queue(), "status"), {}),
    (ScheduleStatus, root(documents.task_schedule(), "status"), {}),
]
RULES = {message for _, schema, _ in PARTS for message in messages(schema)}
CASES = [
    pytest.param(*part, path, field, id=f"{part[0].__name__}.{'.'.join(map(str, path))}")
    for part in PARTS
    for path, field in leaves(part[1])
    if field.get("format") != "date-time" and path[0] != "conditions"
]


@pytest.mark.parametrize(("record", "schema", "base", "path", "field"), CASES)
def test_what_the_crd_accepts_the_model_accepts_and_no_more(
    record: type[msgspec.Struct], schema: dict[str, Any], base: dict[str, Any], path: Path_, field: dict[str, Any]
) -> None:
    crd = jsonschema_rs.validator_for(schema)
    verdicts: dict[str, tuple[bool, bool]] = {}
    for value in edges(field):
        if isinstance(value, float | bool) and "x-kubernetes-int-or-string" in field:
            continue  # 只有 API 服务器知道这种字段只收整数与文字
        spec = copy.deepcopy(base)
        put(spec, schema, path, value)
        verdicts[repr(value)[:40]] = (crd.is_valid(spec), taken(record, spec))
    assert {value: pair for value, pair in verdicts.items() if pair[0] != pair[1]} == {}
    assert {pair[0] for pair in verdicts.values()} >= {True}, "no value of ours was right"


@pytest.mark.parametrize(("record", "schema", "base"), PARTS[:2])
def test_whatever_is_required_is_missed(record: type[msgspec.Struct], schema: dict[str, Any], base: dict[str, Any]) -> None:
    for name in schema["required"]:
        less = {key: value for key, value in base.items() if key != name}
        assert not jsonschema_rs.validator_for(schema).is_valid(less)
        assert not taken(record, less)


def test_a_pod_runs_as_many_tasks_at_once_as_a_worker_may_be_told() -> None:
    """The CRD once allowed a tenth of what the worker's own setting does."""
    assert root(documents.task_queue(), "spec")["properties"]["concurrency"]["maximum"] == c.CONCURRENCY_MAX


class Inner(Record, frozen=True):
    """Words
    of Inner.
    """

    size: Annotated[int, whole("Size.", 1, 9)] | None = None
    mode: Annotated[Literal["Zeta", "Alpha"], about("Mode.")] = "Zeta"


class Outer(Record, frozen=True):
    """Words of Outer."""

    wire_name: Annotated[str, text("Name.", limit=5, pattern="^a$")]
    inner: Inner = Inner()


def test_a_record_becomes_its_schema() -> None:
    assert schema_of(Outer) == {
        "type": "object", "description": "Words of Outer.", "required": ["wireName"],
        "properties": {
            "wireName": {"type": "string", "maxLength": 5, "pattern": "^a$", "description": "Name."},
            "inner": {
                "type": "object", "description": "Words of Inner.", "default": {"mode": "Zeta"},
                "properties": {
                    "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9, "description": "Size."},
                    "mode": {"type": "string", "enum": ["Zeta", "Alpha"], "default": "Zeta", "description": "Mode."},
                },
            },
        },
    }  # fmt: skip
