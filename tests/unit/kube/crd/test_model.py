"""Typed specs: errors that name the field, names, Secrets, and hashes that outlive a new default."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.kube.crd.check import InvalidSpec
from taskmill.kube.crd.model import (
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
        ({"pod": {"env": [{"name": "9 A"}]}}, r"spec.pod.env\[0\].name"),
        ({"pod": {"env": [{"name": "A", "value": "1", "valueFrom": {}}]}}, r"spec.pod.env\[0\].valueFrom: .* not both"),
        ({"pod": {"envFrom": [{"prefix": "A_"}]}}, r"spec.pod.envFrom\[0\].configMapRef: .* exactly one"),
        ({"pod": {"resources": {"limits": {"memory": "lots"}}}}, "spec.pod.resources.limits"),
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
    for wrong, words in (
        ({"cron": "@daily"}, "five fields"),
        ({"intervalSeconds": 5, "timeZone": "Europe/Berlin"}, "timeZone"),
    ):
        with pytest.raises(InvalidSpec, match=words):
            parse_schedule(queue() | {"spec": {**SPEC, "kind": "http.request", **wrong}})
