"""Typed specs: the defaults of the CRD, and errors that name the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from taskmill.kube.crd import documents as crds
from taskmill.kube.crd.model import (
    InvalidSpec,
    TaskQueueSpec,
    TaskScheduleSpec,
    canonical,
    parse_queue,
    parse_schedule,
    queue_name,
    schedule_name,
    secret_names,
)
from taskmill.kube.scale.decide import ScalingSpec
from taskmill.kube.scaling_spec import scaling_spec
from tests.unit.kube.objects import SPEC, queue


def schema(crd: dict[str, Any]) -> dict[str, Any]:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def differences(struct: type[msgspec.Struct], fields: dict[str, Any], path: str = "spec") -> list[str]:
    """Compare names and defaults of a Struct with those of a schema."""
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    found = [f"{path}.{name}" for name in known.keys() ^ fields.keys()]
    for name, field in known.items():
        below = fields.get(name, {})
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if isinstance(default, msgspec.Struct):
            found += differences(type(default), below["properties"], f"{path}.{name}")
        elif "default" in below and below["default"] != default:
            found.append(f"{path}.{name}: {below['default']!r} is not {default!r}")
        elif "default" not in below and default not in (None, msgspec.NODEFAULT, [], {}):
            found.append(f"{path}.{name}: no default in the CRD, {default!r} here")
    return found


def test_fields_and_defaults_are_those_of_the_crd() -> None:
    assert differences(TaskQueueSpec, schema(crds.task_queue())["properties"]) == []
    assert differences(TaskScheduleSpec, schema(crds.task_schedule())["properties"]) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"concurrency": 0}, "spec.concurrency"),
        ({"scaling": {"mode": "Sometimes"}}, "spec.scaling.mode"),
        ({"scaling": {"minReplicas": 5, "maxReplicas": 3}}, "minReplicas"),
        ({"scaling": {"fallback": {"behavior": "Static"}}}, "fallback.replicas"),
        ({"scaling": {"fallback": {"behavior": "Static", "replicas": 20}}}, "maxReplicas"),
        ({"scaling": {"mode": "Manual", "dryRun": True}}, "dryRun"),
        ({"update": {"maxSurge": "0%"}}, "maxSurge"),
        ({"pod": {"env": [{"name": "TASKMILL_QUEUES", "value": "x"}]}}, "TASKMILL_"),
        ({"queueName": "Not Good"}, "queueName"),
        ({"connection": {"databaseSecretRef": {"name": "db"}}}, "brokerSecretRef"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_field(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        parse_queue(queue(**spec))


def test_metadata_and_names() -> None:
    parsed = parse_queue(queue(metadata={"deletionTimestamp": "2026-11-24T12:00:00Z", "finalizers": ["x"]}))
    assert (parsed.key, queue_name(parsed), parsed.finalizers) == ("app/emails", "emails", ("x",))
    assert parsed.deleted_at is not None
    assert queue_name(parse_queue(queue(queueName="mail.out"))) == "mail.out"


def test_every_secret_that_reaches_the_workers_is_named() -> None:
    parsed = parse_queue(
        queue(
            plugins=[{"name": "email", "configSecretRef": {"name": "smtp"}}],
            pod={
                "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "no"}}],
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "one", "key": "k"}}},
                ],
            },
        )
    )
    assert secret_names(parsed) == ("all", "broker", "db", "one", "smtp")


def test_the_scaler_gets_its_words() -> None:
    assert scaling_spec(parse_queue(queue())) == ScalingSpec()
    made = scaling_spec(
        parse_queue(queue(scaling={"maxReplicas": 7, "prewarm": "Off", "limits": {"databaseConnections": 9}}))
    )
    assert (made.max_replicas, made.prewarm, made.database_connections) == (7, False, 9)


def test_what_equals_its_default_leaves_no_trace() -> None:
    plain, spelled = (
        parse_queue(queue()).spec,
        parse_queue(queue(scaling={"mode": "Auto", "objective": {}}, concurrency=10)).spec,
    )
    assert canonical(plain) == canonical(spelled)
    assert "scaling" not in canonical(plain)
    assert canonical([parse_queue(queue(concurrency=3)).spec])[0]["concurrency"] == 3


def test_schedules() -> None:
    manifest = queue() | {"spec": {**SPEC, "kind": "http.request", "cron": "0 9 * * *"}}
    assert schedule_name(parse_schedule(manifest)) == "emails"
    manifest["spec"]["intervalSeconds"] = 5
    with pytest.raises(InvalidSpec, match="exactly one"):
        parse_schedule(manifest)
