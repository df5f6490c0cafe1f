"""The real API server accepts what the samples show, fills in defaults, and refuses the rest with our words."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from taskmill.kube import names
from taskmill.kube.crd import documents as crds
from taskmill.kube.crd import pod as pod_schema
from taskmill.kube.crd import scaling
from taskmill.kube.crd import task_queue as queue
from taskmill.kube.crd import task_schedule as schedule
from tests.cluster.commands import CommandError
from tests.cluster.conftest import Run
from tests.cluster.crd_support import CONNECTION, ROOT, Manifest, install_crds, task_queue, task_schedule, text

SAMPLES = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
RESERVED = f"names beginning with {pod_schema.RESERVED_ENV} are set by the operator"
OTHER = {"databaseSecretRef": {"name": "other"}, "brokerSecretRef": {"name": "app-broker"}}


@pytest.fixture(scope="module", autouse=True)
def _crds(kubectl: Run) -> None:
    install_crds(kubectl)


def create(kubectl: Run, namespace: str, manifest: Manifest) -> Manifest:
    return json.loads(kubectl("create", "-n", namespace, "-f", "-", "-o", "json", stdin=text(manifest)))


def patch(kubectl: Run, namespace: str, what: str, **change: Any) -> Manifest:
    options = ["--type=merge", "-p", json.dumps(change), "-o", "json"]
    return json.loads(kubectl("patch", what, "-n", namespace, *options))


def refused(kubectl: Run, namespace: str, manifest: Manifest) -> str:
    with pytest.raises(CommandError) as error:
        create(kubectl, namespace, manifest)
    return " ".join(error.value.stderr.split())


def pods(**fields: Any) -> Manifest:
    return task_queue(pod=fields)


@pytest.mark.parametrize(
    ("manifest", "field", "words"),
    [
        (task_queue(scaling={"minReplicas": 5, "maxReplicas": 2}), "spec.scaling.minReplicas", scaling.MIN_OVER_MAX),
        (task_queue(replicas=3), "spec.replicas", queue.REPLICAS_IN_AUTO),
        (
            task_queue(scaling={"fallback": {"behavior": "Static"}}),
            "spec.scaling.fallback.replicas", scaling.FALLBACK_NEEDS_REPLICAS,
        ),
        (
            task_queue(scaling={"maxReplicas": 2, "fallback": {"behavior": "StaticIfHigher", "replicas": 3}}),
            "spec.scaling.fallback.replicas", scaling.FALLBACK_OVER_MAX,
        ),
        (task_queue(replicas=1, scaling={"mode": "Manual", "dryRun": True}), "spec.scaling.dryRun", scaling.DRY_RUN_OUTSIDE_AUTO),
        (task_queue(update={"maxSurge": 0}), "spec.update.maxSurge", queue.NO_ROLLOUT),
        (task_queue(update={"maxSurge": "0%"}), "spec.update.maxSurge", queue.NO_ROLLOUT),
        (task_queue("a" * 48), "", queue.NAME_TOO_LONG),
        (pods(env=[{"name": "TASKMILL_LEASE_S", "value": "1"}]), "spec.pod.env[0].name", RESERVED),
        (
            pods(env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            "spec.pod.env[0].valueFrom", "give value or valueFrom, not both",
        ),
        (pods(envFrom=[{"prefix": "A_"}]), "spec.pod.envFrom[0].configMapRef", "exactly one of them"),
        (task_schedule(), "spec.cron", schedule.ONE_TIMETABLE),
        (task_schedule(cron="0 9 * * *", intervalSeconds=60), "spec.cron", schedule.ONE_TIMETABLE),
        (task_schedule(cron="@daily"), "spec.cron", schedule.CRON_FORM),
        (task_schedule(intervalSeconds=60, timeZone="Europe/Berlin"), "spec.timeZone", schedule.ZONE_OF_INTERVAL),
        (task_schedule("a" * 48, intervalSeconds=60), "", queue.NAME_TOO_LONG),
    ],
)  # fmt: skip
def test_our_rules_refuse_with_our_words(kubectl: Run, namespace: str, manifest: Manifest, field: str, words: str) -> None:
    told = refused(kubectl, namespace, manifest)
    assert words in told
    assert f"{field}: " in told


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({**task_queue(), "spec": {}}, "spec.connection: Required value"),
        (
            task_queue(connection={"databaseSecretRef": {"name": "app-db"}}),
            "spec.connection.brokerSecretRef: Required value",
        ),
        (task_queue(scaling={"mode": "Automatic"}), 'spec.scaling.mode: Unsupported value: "Automatic"'),
        (task_queue(scaling={"maxReplicas": 0}), "spec.scaling.maxReplicas: Invalid value"),
        (task_queue(concurrency=10_001), "spec.concurrency: Invalid value"),
        (task_queue(queueName="Emails"), "spec.queueName: Invalid value"),
        (task_queue(plugins=[{"name": "http"}, {"name": "http"}]), "spec.plugins[1]: Duplicate value"),
        (task_queue(plugins=[{"name": "http", "config": {"hosts": ["a", "b"]}}]), "spec.plugins[0].config.hosts: Too many"),
        (task_queue(plugins=[{"name": "http", "config": {"a": {"b": 1}}}]), "spec.plugins[0].config.a: Too many"),
        (task_queue(update={"maxUnavailable": "half"}), "spec.update.maxUnavailable: Invalid value"),
        (pods(resources={"limits": {"memory": "lots"}}), "spec.pod.resources.limits.memory: Invalid value"),
        (pods(tolerations=[{"effect": "Never"}]), "spec.pod.tolerations[0].effect: Unsupported value"),
        (task_queue(replica=3), 'unknown field "spec.replica"'),
        (task_queue(scaling={"maxPods": 3}), 'unknown field "spec.scaling.maxPods"'),
        (task_schedule(cron="0 9 * * *", priority=5), "spec.priority: Invalid value"),
        (task_schedule(cron="0 9 * * *", args=[1]), "spec.args: Invalid value"),
    ],
)
def test_the_schema_refuses(kubectl: Run, namespace: str, manifest: Manifest, words: str) -> None:
    assert words in refused(kubectl, namespace, manifest)


def test_the_smallest_object_gets_all_defaults(kubectl: Run, namespace: str) -> None:
    made = create(kubectl, namespace, task_queue(scaling={"objective": {"startLatencySeconds": 10}}))["spec"]
    root = crds.task_queue()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    wanted = {name: field["default"] for name, field in root.items() if "default" in field}
    wanted["scaling"]["objective"]["startLatencySeconds"] = 10
    wanted["connection"] = {name: {**reference, "key": "url"} for name, reference in CONNECTION.items()}
    assert made == wanted


def test_applying_the_same_again_changes_nothing(kubectl: Run, namespace: str) -> None:
    options = ["-n", namespace, "-f", str(ROOT / "examples/kubernetes/full.yaml"), "-o", "json"]
    first = json.loads(kubectl("apply", *options))["metadata"]
    again = json.loads(kubectl("apply", *options))["metadata"]
    assert (again["generation"], again["resourceVersion"]) == (first["generation"], first["resourceVersion"])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_accepted_whole(kubectl: Run, namespace: str, sample: Any) -> None:
    kubectl("apply", "-n", namespace, "-f", str(sample))
    for given in yaml.safe_load_all(sample.read_text(encoding="utf-8")):
        kept = json.loads(kubectl("get", given["kind"], given["metadata"]["name"], "-n", namespace, "-o", "json"))
        assert missing_from(given["spec"], kept["spec"]) == []


def missing_from(given: Any, kept: Any, path: str = "") -> list[str]:
    """Return the paths that were given and are not as given: nothing may be pruned in silence."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [bad for key, value in given.items() for bad in missing_from(value, kept.get(key), f"{path}.{key}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [bad for i, value in enumerate(given) for bad in missing_from(value, kept[i], f"{path}[{i}]")]
    return [] if given == kept else [path]


def test_the_kustomization_is_accepted(kubectl: Run, namespace: str) -> None:
    kubectl("apply", "-n", namespace, "-k", str(ROOT / "examples" / "kubernetes" / "gitops"))
    names = kubectl("get", "tq,tsched", "-n", namespace, "-l", "app.kubernetes.io/part-of=shop", "-o", "name").split()
    assert names == ["taskqueue.taskmill.dev/orders", "taskschedule.taskmill.dev/orders-cleanup"]


@pytest.mark.parametrize(
    ("manifest", "change", "words"),
    [
        (task_queue(), {"connection": OTHER}, queue.CONNECTION_CHANGED),
        (task_queue(queueName="a"), {"queueName": "b"}, queue.QUEUE_NAME_CHANGED),
        (task_queue(queueName="a"), {"queueName": None}, queue.QUEUE_NAME_CHANGED),
        (task_queue(), {"queueName": "emails"}, queue.QUEUE_NAME_CHANGED),
        (task_schedule(intervalSeconds=60), {"connection": OTHER}, queue.CONNECTION_CHANGED),
        (task_schedule(intervalSeconds=60, scheduleName="a"), {"scheduleName": "b"}, schedule.SCHEDULE_NAME_CHANGED),
        (task_schedule(intervalSeconds=60), {"scheduleName": "b"}, schedule.SCHEDULE_NAME_CHANGED),
    ],
)
def test_what_cannot_change(kubectl: Run, namespace: str, manifest: Manifest, change: Manifest, words: str) -> None:
    made = create(kubectl, namespace, manifest)
    with pytest.raises(CommandError) as error:
        patch(kubectl, namespace, f"{made['kind'].lower()}/{made['metadata']['name']}", spec=change)
    assert words in error.value.stderr


def test_scaling_by_hand_in_mode_auto_is_refused_with_advice(kubectl: Run, namespace: str) -> None:
    create(kubectl, namespace, task_queue())
    with pytest.raises(CommandError, match=r"set scaling\.mode to Manual first"):
        kubectl("scale", "tq/emails", "--replicas=3", "-n", namespace)


def test_scaling_by_hand_in_mode_manual(kubectl: Run, namespace: str) -> None:
    create(kubectl, namespace, task_queue(replicas=1, scaling={"mode": "Manual"}))
    kubectl("scale", "tq/emails", "--replicas=3", "-n", namespace)
    status = {"replicas": 2, "selector": "taskmill.dev/queue=emails"}
    kubectl(
        "patch", "tq/emails", "-n", namespace, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )
    path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/taskqueues/emails/scale"
    scale = json.loads(kubectl("get", "--raw", path))
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, status)


@pytest.mark.parametrize(
    "spec", [{"scaling": {"mode": "Manual"}}, {"scaling": {"mode": "External"}}, {"scaling": {"mode": "External"}, "stopPolicy": "Hold"}],
)  # fmt: skip
def test_the_scale_can_be_read_before_any_status_and_in_mode_auto_too(kubectl: Run, namespace: str, spec: Manifest) -> None:
    create(kubectl, namespace, task_queue(replicas=2, **spec))
    path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/taskqueues/emails/scale"
    assert json.loads(kubectl("get", "--raw", path))["spec"] == {"replicas": 2}
    kubectl("scale", "tq/emails", "--current-replicas=2", "--replicas=3", "-n", namespace)
    patch(kubectl, namespace, "tq/emails", spec={"scaling": {"mode": "Auto"}})
    assert json.loads(kubectl("get", "--raw", path))["spec"] == {"replicas": 3}


def test_back_to_auto_a_left_over_number_is_tolerated_but_not_changed(kubectl: Run, namespace: str) -> None:
    create(kubectl, namespace, task_queue(replicas=4, scaling={"mode": "External"}))
    patch(kubectl, namespace, "tq/emails", spec={"scaling": {"mode": "Auto"}})
    patch(kubectl, namespace, "tq/emails", spec={"scaling": {"maxReplicas": 20}})
    with pytest.raises(CommandError, match="decided by the operator while"):
        patch(kubectl, namespace, "tq/emails", spec={"replicas": 5})
    assert "replicas" not in patch(kubectl, namespace, "tq/emails", spec={"replicas": None})["spec"]


def test_what_is_not_ours_is_pruned_and_overrides_are_kept(kubectl: Run, namespace: str) -> None:
    overrides = {"spec": {"containers": [{"name": "worker", "tty": True}], "shareProcessNamespace": True}}
    manifest = task_queue(nonsense=1, pod={"overrides": overrides})
    made = json.loads(kubectl("create", "-n", namespace, "--validate=ignore", "-f", "-", "-o", "json", stdin=text(manifest)))
    assert "nonsense" not in made["spec"]
    assert made["spec"]["pod"] == {"overrides": overrides}


def test_plugins_take_scalars_of_every_kind(kubectl: Run, namespace: str) -> None:
    config = {"allow_private": True, "timeout_s": 2.5, "limit": 10, "hosts": '["a", "b"]'}
    made = create(kubectl, namespace, task_queue(plugins=[{"name": "http", "config": config}]))
    assert made["spec"]["plugins"] == [{"name": "http", "config": config}]


def test_columns(kubectl: Run, namespace: str) -> None:
    create(kubectl, namespace, task_queue())
    now = "2030-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "True", "reason": "AsDesired", "message": "ok", "lastTransitionTime": now}
    status = {
        "replicas": 2, "desiredReplicas": 3, "work": {"ready": 7, "oldestWaitSeconds": 4}, "conditions": [ready],
        "migration": {"databaseRevision": "0002"},
    }  # fmt: skip
    kubectl(
        "patch", "tq/emails", "-n", namespace, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )
    head, row = kubectl("get", "tq", "-n", namespace).splitlines()
    assert head.split() == ["NAME", "READY", "REPLICAS", "DESIRED", "READY-TASKS", "WAIT", "MODE", "REASON", "AGE"]
    assert row.split()[:-1] == ["emails", "True", "2", "3", "7", "4", "Auto", "AsDesired"]
    wide = kubectl("get", "tq", "-n", namespace, "-o", "wide").splitlines()[0].split()
    assert {"MAX", "SCHEMA"} <= set(wide)
    assert "taskqueue.taskmill.dev/emails" in kubectl("get", "all", "-n", namespace)


def test_selecting_by_the_name_of_the_queue(kubectl: Run, namespace: str) -> None:
    create(kubectl, namespace, task_queue("a", queueName="shared"))
    create(kubectl, namespace, task_queue("b"))
    found = kubectl("get", "tq", "-n", namespace, "--field-selector=spec.queueName=shared", "-o", "name")
    assert found.split() == ["taskqueue.taskmill.dev/a"]


def test_explain_reads_well(kubectl: Run) -> None:
    told = " ".join(kubectl("explain", "taskqueue.spec.scaling").split())
    assert "scaling in never interrupts a task" in told
    assert "mode <string>" in told
    assert "enum: Auto, Manual, External" in told
    deep = " ".join(kubectl("explain", "tq.spec.scaling.objective.startLatencySeconds").split())
    assert "Longest wait, in seconds." in deep


def test_the_crds_say_which_schema_they_are(kubectl: Run) -> None:
    for name in ("taskqueues.taskmill.dev", "taskschedules.taskmill.dev"):
        crd = json.loads(kubectl("get", "crd", name, "-o", "json"))
        assert crd["metadata"]["annotations"][crds.SCHEMA_VERSION_ANNOTATION] == str(crds.SCHEMA_VERSION)
        problems = [c for c in crd["status"]["conditions"] if c["type"] == "NonStructuralSchema" and c["status"] == "True"]
        assert problems == []
