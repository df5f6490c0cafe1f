"""Manifests: goldens per renderer version, restricted Pod Security, overrides, names, drift."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from taskmill.kube import names
from taskmill.kube.crd.check import InvalidSpec
from taskmill.kube.crd.model import parse_queue
from taskmill.kube.plan import drift
from taskmill.kube.render import workers as manifests
from taskmill.kube.render.migration_job import JobOrder, marks, migration_job
from taskmill.kube.render.pod import merge
from taskmill.kube.render.workers import Rendering
from taskmill.kube.state import Manifest
from tests.unit.kube.objects import IDENTITY, queue

GOLDEN = Path(__file__).parent / "golden"
FULL: dict[str, Any] = {
    "image": "registry/app:7", "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "pull"}], "queueName": "mail.out",
    "concurrency": 4, "drain": {"timeoutSeconds": 60},
    "plugins": [
        {"name": "http", "config": {"timeout_s": 3.5, "retries": 2, "verify": True}},
        {"name": "email", "configSecretRef": {"name": "smtp"}},
    ],
    "pod": {
        "labels": {"team": "a", "taskmill.dev/queue": "lie"}, "annotations": {"note": "b"},
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}}, "env": [{"name": "TZ", "value": "UTC"}],
        "envFrom": [{"configMapRef": {"name": "more"}}], "volumes": [{"name": "data", "emptyDir": {}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}], "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}], "topologySpreadConstraints": [],
        "serviceAccountName": "mine", "priorityClassName": "high", "runtimeClassName": "gvisor",
        "affinity": {"nodeAffinity": {}}, "securityContext": {"runAsNonRoot": True, "runAsUser": 1},
        "overrides": {"spec": {
            "dnsPolicy": "None", "containers": [{"name": "worker", "stdin": True}, {"name": "side", "image": "x"}],
        }},
    },
    "disruption": {"maxUnavailable": 3}, "update": {"maxSurge": 1, "maxUnavailable": "10%"},
}  # fmt: skip


def rendering(version: int = 1, replicas: int | None = None, **spec: Any) -> Rendering:
    parsed = parse_queue(queue(**spec))
    image = parsed.spec.image or "taskmill:1"
    return Rendering(
        parsed, image, manifests.bundle(parsed, image), "config0000", manifests.spec_hash(parsed), "secrets000", 8801, version,
        replicas=replicas,
    )  # fmt: skip


def all_of(made: Rendering) -> list[Manifest | None]:
    order = JobOrder(made.queue, (), made.image, IDENTITY, made.bundle, "expand", 0, marks(made.queue))
    return [
        manifests.service_account(made), manifests.disruption_budget(made.queue), manifests.deployment(made), migration_job(order),
    ]  # fmt: skip


@pytest.mark.parametrize("version", sorted(manifests.RENDERERS))
@pytest.mark.parametrize(("name", "spec"), [("smallest", {}), ("full", FULL)])
def test_golden(version: int, name: str, spec: dict[str, Any]) -> None:
    """An old version's file never changes: a change here would restart every worker when the operator is upgraded."""
    file = GOLDEN / f"v{version}-{name}.json"
    made = json.dumps(all_of(rendering(version, **spec)), indent=1, sort_keys=True) + "\n"
    if not file.exists():  # 新的版本：写下来，看过再提交
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8")


def test_restricted_pod_security_by_default() -> None:
    for manifest in all_of(rendering())[2:]:
        assert manifest is not None
        spec = manifest["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["volumeMounts"][0]["name"] == "tmp"


def test_what_the_user_gives_reaches_the_pod() -> None:
    template = manifests.deployment(rendering(**FULL))["spec"]["template"]
    spec, worker = template["spec"], template["spec"]["containers"][0]
    env = {each["name"]: each.get("value") for each in worker["env"]}
    assert env["TASKMILL_QUEUES"] == "mail.out"
    assert (env["TASKMILL_PLUGINS_ALLOW"], env["TASKMILL_PLUGIN_HTTP_TIMEOUT_S"]) == ("email,http", "3.5")
    assert (env["TASKMILL_PLUGIN_HTTP_VERIFY"], env["TASKMILL_DRAIN_GRACE_S"], env["TZ"]) == ("true", "60", "UTC")
    assert worker["envFrom"] == [{"secretRef": {"name": "smtp"}}, {"configMapRef": {"name": "more"}}]
    assert spec["terminationGracePeriodSeconds"] == 90
    assert (spec["dnsPolicy"], worker["stdin"], worker["image"]) == ("None", True, "registry/app:7")
    assert [each["name"] for each in spec["containers"]] == ["worker", "side"]
    assert template["metadata"]["labels"]["taskmill.dev/queue"] == "emails"
    assert "topologySpreadConstraints" not in spec


def test_a_migration_pod_takes_what_is_said_of_the_pod_and_has_its_own_size() -> None:
    mine = {
        "resources": {"limits": {"cpu": "1"}}, "labels": {"cost": "b"}, "annotations": {"sidecar": "off"},
        "overrides": {"spec": {"hostAliases": [], "restartPolicy": "Always", "containers": [{"name": "migrate", "tty": True}]}},
    }  # fmt: skip
    made = rendering(**FULL, migration={"pod": mine})
    template = all_of(made)[3]["spec"]["template"]  # type: ignore[index]
    spec, (migrate,) = template["spec"], template["spec"]["containers"]
    labels = template["metadata"]["labels"]
    assert (labels["team"], labels["cost"], "taskmill.dev/queue" in labels) == ("a", "b", False)
    assert template["metadata"]["annotations"] == {"note": "b", "sidecar": "off"}
    assert (spec["dnsPolicy"], spec["nodeSelector"], spec["hostAliases"]) == ("None", {"disk": "ssd"}, [])
    assert spec["restartPolicy"] == "Never"
    assert (migrate["name"], migrate["tty"], migrate["resources"]) == ("migrate", True, {"limits": {"cpu": "1"}})
    assert migrate["args"] == ["migrate", "up", "--phase", "expand"]


def test_own_tmp_is_not_doubled() -> None:
    spec = manifests.deployment(rendering(pod={"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]}))
    assert spec["spec"]["template"]["spec"]["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]


@pytest.mark.parametrize(
    ("base", "over", "made"),
    [
        ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
        (
            {"containers": [{"name": "x", "a": 1}]},
            {"containers": [{"name": "x", "b": 2}]},
            {"containers": [{"name": "x", "a": 1, "b": 2}]},
        ),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
        (
            {"volumeMounts": [{"mountPath": "/a", "name": "x"}]},
            {"volumeMounts": [{"mountPath": "/b", "name": "x"}]},
            {"volumeMounts": [{"mountPath": "/a", "name": "x"}, {"mountPath": "/b", "name": "x"}]},
        ),
    ],
)
def test_merge(base: Any, over: Any, made: Any) -> None:
    assert merge(base, over) == made


# ── 名字与散列 ──


@pytest.mark.parametrize("owner", ["a", "emails", "x" * 39, "y" * 47, "long-" * 9])
def test_names_fit(owner: str) -> None:
    made = names.workload(owner)
    assert len(made) <= 46
    assert len(f"{made}-1234567890-abcde") <= 63
    assert made.endswith("-worker")


def test_long_names_stay_apart() -> None:
    assert names.workload("x" * 46 + "a") != names.workload("x" * 46 + "b")


def test_job_names() -> None:
    assert names.job("d" * 16, "b" * 16, "contract", 3) == "tq-migrate-dddddddd-bbbbbbbbbb-contract-r3"
    assert names.label({"metadata": {}}, "x") == names.annotation(None, "x") == ""


def test_a_bundle_is_image_plugins_and_what_a_migration_may_do() -> None:
    def bundle(image: str = "i", **spec: Any) -> str:
        return manifests.bundle(parse_queue(queue(**spec)), image)

    same = bundle(plugins=[{"name": "a"}, {"name": "b"}])
    assert same == bundle(plugins=[{"name": "b", "config": {"x": 1}}, {"name": "a"}], concurrency=3)
    assert len({same, bundle("j"), bundle(), bundle(migration={"allowSchemaAhead": True})}) == 4


def test_the_spec_hash_changes_with_what_shapes_pods_only() -> None:
    def hashed(**spec: Any) -> str:
        return manifests.spec_hash(parse_queue(queue(**spec)))

    assert hashed() == hashed(scaling={"maxReplicas": 3}, migration={"policy": "Skip"}, concurrency=10)
    assert hashed() != hashed(concurrency=11)


def test_replicas_are_sent_only_until_the_scaler_owns_them() -> None:
    assert manifests.deployment(rendering(replicas=0))["spec"]["replicas"] == 0
    assert "replicas" not in manifests.deployment(rendering())["spec"]


# ── 漂移 ──


def served(manifest: Manifest) -> Manifest:
    """Return the object as the API server gives it back: defaults added, empty values dropped, quantities rewritten."""
    made = copy.deepcopy(manifest)
    made["metadata"] |= {"uid": "u", "resourceVersion": "5"}
    made["spec"]["replicas"] = 3
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["terminationMessagePath"] = "/dev/termination-log"
    container["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "500m"}}
    container["env"] = [{key: value for key, value in each.items() if value != ""} for each in container["env"]]
    return made


def test_what_the_server_adds_or_rewrites_is_no_drift() -> None:
    pod = {
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "0.5"}},
        "env": [{"name": "EMPTY", "value": ""}],
    }
    desired = manifests.deployment(rendering(pod=pod))
    live = served(desired)
    assert drift.is_current(desired, live)
    assert drift.differences(desired, live) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (
            lambda made: made["spec"]["template"]["spec"]["containers"][0].update(image="evil"),
            "spec.template.spec.containers[worker].image",
        ),
        (lambda made: made["metadata"]["labels"].pop("app.kubernetes.io/name"), "metadata.labels.app.kubernetes.io/name"),
        (
            lambda made: made["spec"]["template"]["spec"]["containers"][0]["args"].append("x"),
            "spec.template.spec.containers[worker].args",
        ),
        (
            lambda made: made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"].update(cpu="2"),
            "spec.template.spec.containers[worker].resources.requests.cpu",
        ),
        (
            lambda made: made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"].update(cpu="a lot"),
            "spec.template.spec.containers[worker].resources.requests.cpu",
        ),
        (
            lambda made: made["spec"]["template"]["spec"]["topologySpreadConstraints"][0].update(maxSkew=2),
            "spec.template.spec.topologySpreadConstraints[0].maxSkew",
        ),
        (lambda made: made["metadata"].pop("ownerReferences"), "metadata.ownerReferences[uid-emails].apiVersion"),
    ],
)
def test_drift_is_named(change: Any, path: str) -> None:
    desired = manifests.deployment(rendering(pod={"resources": {"requests": {"cpu": "1"}}}))
    live = served(desired)
    change(live)
    assert drift.differences(desired, live)[0][0] == path


@pytest.mark.parametrize(("ours", "theirs"), [("1e3", "1k"), ("0.1", "100m"), ("1024Ki", "1Mi"), (2, "2"), ("1E", "1000P")])
def test_quantities(ours: Any, theirs: str) -> None:
    assert drift.differences({"limits": {"x": ours}}, {"limits": {"x": theirs}}) == []


def test_ownership() -> None:
    parsed = parse_queue(queue())
    made = manifests.deployment(rendering())
    assert manifests.is_ours(made, parsed)
    made["metadata"]["ownerReferences"] = []
    assert manifests.is_ours(made, parsed)
    made["metadata"]["labels"] = {}
    assert not manifests.is_ours(made, parsed)


@pytest.mark.parametrize(
    ("workers", "wanted"),
    [
        ({}, ({"cpu": "100m", "memory": "128Mi"}, {"memory": "1Gi"})),
        ({"requests": {"cpu": "9"}}, ({"cpu": "100m", "memory": "128Mi"}, {"memory": "1Gi"})),
        ({"limits": {"cpu": "9"}}, ({"cpu": "100m", "memory": "128Mi"}, {"cpu": "1", "memory": "1Gi"})),
        ({"limits": {"cpu": "500m"}}, ({"cpu": "100m", "memory": "128Mi"}, {"cpu": "500m", "memory": "1Gi"})),
        ({"limits": {"cpu": "0.05"}}, ({"cpu": "0.05", "memory": "128Mi"}, {"cpu": "0.05", "memory": "1Gi"})),
        (
            {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "2Gi"}},
            (
                {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "1Gi"},
                {"memory": "1Gi", "ephemeral-storage": "2Gi"},
            ),
        ),
    ],
)
def test_a_migration_is_limited_in_what_the_workers_are(workers: Manifest, wanted: tuple[Manifest, Manifest]) -> None:
    job = all_of(rendering(pod={"resources": workers}))[3]
    assert job is not None
    resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert (resources["requests"], resources["limits"]) == wanted


def test_a_named_service_account_decides_itself_on_its_token() -> None:
    def tokens(version: int, **pod: Any) -> list[Any]:
        made = all_of(rendering(version, pod=pod))[2:]
        return [each["spec"]["template"]["spec"].get("automountServiceAccountToken") for each in made if each]

    assert tokens(2, serviceAccountName="mine") == [None, None]
    assert tokens(1, serviceAccountName="mine") == [False, None]  # 已有的工作进程，升级控制器不换
    assert tokens(2) == [False, False]


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"spec": None}, "overrides.spec"),
        ({"spec": "text"}, "overrides.spec"),
        ({"metadata": "text"}, "overrides.metadata"),
        ({"metadata": {"labels": "text"}}, "overrides.metadata.labels"),
        ({"metadata": {"labels": {"a": 1}}}, "overrides.metadata.labels[...]"),
        ({"spec": {"containers": "text"}}, "overrides.spec.containers"),
        ({"spec": {"containers": ["text"]}}, "overrides.spec.containers[0]"),
        ({"spec": {"initContainers": [{"image": "x"}]}}, "overrides.spec.initContainers[0]"),
        ({"spec": {"containers": [{"name": "a", "env": ["x"]}]}}, "overrides.spec.containers[0].env[0]"),
        ({"spec": {"containers": [{"name": "a", "volumeMounts": [{}]}]}}, "overrides.spec.containers[0].volumeMounts[0]"),
        ({"spec": {"volumes": [1]}}, "overrides.spec.volumes[0]"),
    ],
)
@pytest.mark.parametrize("part", ["pod", "migration"])
def test_overrides_of_a_wrong_shape_name_their_place(part: str, overrides: Any, place: str) -> None:
    pod = {"overrides": overrides}
    with pytest.raises(InvalidSpec) as caught:
        all_of(rendering(**({"pod": pod} if part == "pod" else {"migration": {"pod": pod}})))
    assert str(caught.value).startswith(f"spec.{'pod' if part == 'pod' else 'migration.pod'}.{place}")


def test_init_containers_of_the_workers_precede_the_migration_too_unless_it_says_otherwise() -> None:
    pod = {"overrides": {"metadata": None, "spec": {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}}}
    job = all_of(rendering(pod=pod))[3]
    assert job is not None
    assert [each["name"] for each in job["spec"]["template"]["spec"]["initContainers"]] == ["proxy"]
    job = all_of(rendering(pod=pod, migration={"pod": {"overrides": {"spec": {"initContainers": None}}}}))[3]
    assert job is not None
    assert "initContainers" not in job["spec"]["template"]["spec"]
