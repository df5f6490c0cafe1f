"""The charts: rendered by Helm as they were before, strict about values, restricted, and free of what other tools trip over."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from taskmill.api.telemetry import METRICS
from taskmill.kube.crd import documents as crds
from taskmill.kube.crd.model import parse_queue, parse_schedule
from taskmill.kube.metrics import Metrics
from taskmill.settings import Settings
from tests.support import chart_readme, charts
from tests.support.charts import (
    CHART,
    CRDS_CHART,
    GOLDEN,
    MINIMAL,
    SETS,
    RefusedError,
    find,
    objects,
    pod_specs,
    render,
    rendered,
    require_helm,
)  # fmt: skip

RUNBOOKS = charts.ROOT / "docs" / "runbooks"
# 启动后约 140 MiB；请求体在处理时约占自己的五倍
IDLE_BYTES, BODY_FACTOR = 140 * 2**20, 5
every_set = pytest.mark.parametrize("name", list(SETS))


@pytest.fixture(scope="module", autouse=True)
def _helm() -> None:
    require_helm()


def refused(*options: str) -> str:
    with pytest.raises(RefusedError) as error:
        render(*options)
    return str(error.value)


@every_set
def test_lint(name: str) -> None:
    assert "0 chart(s) failed" in charts.helm("lint", "--strict", str(CHART), "-f", str(SETS[name]))


def test_lint_of_the_crds() -> None:
    assert "0 chart(s) failed" in charts.helm("lint", "--strict", str(CRDS_CHART))


@every_set
def test_the_render_is_the_golden_one(name: str) -> None:
    golden = GOLDEN / f"{name}.yaml"
    assert golden.is_file(), "python -m tests.support.charts"
    assert rendered(name) == golden.read_text(encoding="utf-8"), "python -m tests.support.charts, then read the difference"


def test_no_golden_without_a_set() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == sorted(SETS)


@every_set
def test_twice_the_same_bytes(name: str) -> None:
    assert render("-f", str(SETS[name])) == render("-f", str(SETS[name]))


@every_set
def test_an_upgrade_renders_what_an_install_renders(name: str) -> None:
    assert render("-f", str(SETS[name]), "--is-upgrade") == rendered(name)


@every_set
def test_every_pod_is_restricted(name: str) -> None:
    specs = list(pod_specs(rendered(name)))
    assert specs
    assert {owner: list(charts.unrestricted(spec)) for owner, spec in specs} == {owner: [] for owner, _ in specs}


def test_the_check_of_pods_can_fail() -> None:
    name, pod = next(pod_specs(rendered("default")))
    assert list(charts.unrestricted(pod)) == [], name
    broken = json.loads(json.dumps(pod))
    broken["hostNetwork"] = True
    broken["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    context = broken["containers"][0]["securityContext"]
    context |= {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}, "privileged": True, "readOnlyRootFilesystem": False}
    assert len(list(charts.unrestricted(broken))) == 5


@every_set
def test_only_the_operator_and_the_uninstaller_get_a_token(name: str) -> None:
    with_token = {owner for owner, spec in pod_specs(rendered(name)) if spec["automountServiceAccountToken"]}
    assert all(owner.endswith(("-operator", "-uninstall")) for owner in with_token)


@every_set
def test_every_object_is_in_the_release_and_bears_our_labels(name: str) -> None:
    for each in objects(rendered(name)):
        if each["kind"] == "ConfigMap" and "labels" not in each["metadata"]:
            continue  # extraObjects 原样
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == charts.RELEASE
        cluster_wide = each["kind"].startswith("ClusterRole")
        assert ("namespace" in each["metadata"]) != cluster_wide


@every_set
def test_names_are_unique(name: str) -> None:
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects(rendered(name))]
    assert len(names) == len(set(names))


@every_set
def test_no_variable_is_set_twice_and_none_is_unknown(name: str) -> None:
    known = {f"TASKMILL_{field.upper()}" for field in Settings.model_fields}
    for owner, spec in pod_specs(rendered(name)):
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            given = [variable["name"] for variable in container.get("env", [])]
            assert len(given) == len(set(given)), owner
            ours = {v for v in given if re.match(r"TASKMILL_(?!PLUGIN_|OPERATOR_|API_URL|POD_|TERMINATION)", v)}
            assert ours <= known, owner


@every_set
def test_the_only_hooks_are_the_test_and_the_uninstaller(name: str) -> None:
    hooks = {
        each["metadata"]["annotations"]["helm.sh/hook"]
        for each in objects(rendered(name))
        if "helm.sh/hook" in each["metadata"].get("annotations", {})
    }
    assert hooks <= {"test", "pre-delete"}


@every_set
def test_our_objects_are_what_the_operator_understands(name: str) -> None:
    for each in objects(rendered(name)):
        if each["apiVersion"] == crds.API_VERSION:
            stored = {**each, "metadata": {**each["metadata"], "creationTimestamp": "2030-01-01T00:00:00Z"}}
            (parse_queue if each["kind"] == "TaskQueue" else parse_schedule)(stored)


def test_what_an_autoscaler_scales_has_no_replicas() -> None:
    text = rendered("production")
    target = find(text, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
    assert "replicas" not in find(text, "Deployment", target)["spec"]
    assert "replicas" in find(text, "Deployment", "-scheduler")["spec"]
    assert find(rendered("default"), "Deployment", "-api")["spec"]["replicas"] == 2


def test_namespaced_means_no_cluster_role_at_all() -> None:
    for name in ("default", "namespaces", "production", "operator-only"):
        assert not [each for each in objects(rendered(name)) if each["kind"].startswith("Cluster")], name
    text = rendered("namespaces")
    places = {each["metadata"]["namespace"] for each in objects(text) if each["kind"] == "RoleBinding"}
    assert places == {"taskmill", "shop", "billing"}
    env = find(text, "Deployment", "-operator")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "TASKMILL_OPERATOR_NAMESPACES", "value": "taskmill,shop,billing"} in env


def test_cluster_wide_secrets_stay_where_they_are_named() -> None:
    text = rendered("cluster-wide")
    wide = [each for each in objects(text) if each["kind"] == "ClusterRoleBinding"]
    roles = {each["metadata"]["name"]: each for each in objects(text) if each["kind"] == "ClusterRole"}
    bound = [rule for each in wide for rule in roles[each["roleRef"]["name"]]["rules"]]
    assert not [rule for rule in bound if "secrets" in rule["resources"]]
    secrets = [
        each for each in objects(text) if each["kind"] == "RoleBinding" and each["roleRef"]["name"].endswith("-secrets")
    ]
    assert {each["metadata"]["namespace"] for each in secrets} == {"shop", "billing"}
    everywhere = render("-f", str(SETS["cluster-wide"]), "--set", "operator.watch.allSecrets=true")
    assert len([each for each in objects(everywhere) if each["kind"] == "ClusterRoleBinding"]) == 2


def test_no_role_has_wildcards() -> None:
    for name in SETS:
        for each in objects(rendered(name)):
            for rule in each.get("rules") or [] if each["kind"] in {"Role", "ClusterRole"} else []:
                assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]


def test_a_migration_job_is_named_by_its_content() -> None:
    def job(*options: str) -> tuple[str, Any]:
        found = find(render(*MINIMAL, "--set", "uninstall.enabled=false", *options), "Job")
        return found["metadata"]["name"], found["spec"]

    name, spec = job()
    assert job("--set", "api.replicas=5,scheduler.resources=null")[0] == name
    assert job("--set", "image.tag=0.2.0")[0] != name
    assert job("--set", "settings.TASKMILL_PLUGINS_ALLOW=http")[0] != name
    assert spec["template"]["spec"]["containers"][0]["args"] == ["migrate", "up", "--phase", "expand"]
    assert job("--set", "operator.enabled=false")[1]["template"]["spec"]["containers"][0]["args"] == ["migrate", "up"]
    assert "ttlSecondsAfterFinished" not in spec
    for mode in ("operator", "off"):
        text = render(*MINIMAL, "--set", f"uninstall.enabled=false,migrations.mode={mode}")
        assert not [o for o in objects(text) if o["kind"] == "Job"]


def test_roles_wait_for_the_schema_unless_somebody_else_migrates() -> None:
    for mode, waits in (("job", True), ("operator", True), ("off", False)):
        text = render(*MINIMAL, "--set", f"migrations.mode={mode}")
        for role in ("-api", "-scheduler"):
            spec = find(text, "Deployment", role)["spec"]["template"]["spec"]
            assert bool(spec.get("initContainers")) == waits


def test_images() -> None:
    def image(*options: str) -> str:
        return find(render(*MINIMAL, *options), "Deployment", "-api")["spec"]["template"]["spec"]["containers"][0]["image"]

    digest = "sha256:" + "a" * 64
    assert image() == "taskmill:0.1.0"
    assert image("--set", "image.registry=r.example.org,image.tag=v2") == "r.example.org/taskmill:v2"
    assert (
        image("--set", f"image.registry=r.example.org,image.tag=v2,image.digest={digest}")
        == f"r.example.org/taskmill@{digest}"
    )
    assert (
        image("--set", "image.registry=r.example.org,global.imageRegistry=mirror.example.org/x/")
        == "mirror.example.org/x/taskmill:0.1.0"
    )
    dev = render("--set", "devDependencies.enabled=true,global.imageRegistry=mirror.example.org")
    images = {container["image"] for _, spec in pod_specs(dev) for container in spec["containers"]}
    assert images == {
        f"mirror.example.org/{i}" for i in ("taskmill:0.1.0", "library/postgres:18-bookworm", "valkey/valkey:9-alpine")
    }


def test_numbers_in_settings_stay_as_they_are_written() -> None:
    env = find(rendered("production"), "Deployment", "-api")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "TASKMILL_BODY_MAX_BYTES", "value": "16777216"} in env


def container(text: str, role: str) -> dict[str, Any]:
    return find(text, "Deployment", f"-{role}")["spec"]["template"]["spec"]["containers"][0]


def ports_open_to(text: str, role: str) -> dict[int, Any]:
    rules = find(text, "NetworkPolicy", f"-{role}")["spec"]["ingress"]
    return {port["port"]: rule.get("from") for rule in rules for port in rule["ports"]}


@pytest.mark.parametrize("role", ["api", "scheduler"])
@pytest.mark.parametrize("given", [None, 9_090])
def test_probes_ask_a_port_of_their_own(role: str, given: int | None) -> None:
    """Requests fill up the port that serves them, never the one by which the kubelet decides to restart the pod."""
    variable = f"TASKMILL_{role.upper()}_HEALTH_PORT"
    text = render(*MINIMAL, *([] if given is None else ["--set", f"settings.{variable}={given}"]))
    found = container(text, role)
    port = given or {"api": 8803, "scheduler": 8804}[role]
    assert {"name": variable, "value": str(port)} in found["env"]
    assert {"name": "health", "containerPort": port} in found["ports"]
    probes = {name: found[name]["httpGet"] for name in found if name.endswith("Probe")}
    assert {name: probe["port"] for name, probe in probes.items()} == dict.fromkeys(probes, "health")
    assert probes.keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
    assert probes["readinessProbe"] == {"path": "/readyz", "port": "health"}
    assert found["startupProbe"]["failureThreshold"] > Settings.model_fields["database_wait_s"].default


@pytest.mark.parametrize("role", ["api", "scheduler"])
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 90),
        ({"TASKMILL_PLUGIN_START_BUDGET_S": "0.5"}, 86),
        ({"TASKMILL_PLUGIN_START_BUDGET_S": "120"}, 205),
        ({"TASKMILL_PLUGIN_START_BUDGET_S": "120", "TASKMILL_PLUGINS_ALLOW": "a\\,b"}, 325),
        ({"TASKMILL_DATABASE_WAIT_S": "300"}, 330),
    ],
)
def test_no_startup_probe_ends_a_start_that_the_settings_allow(role: str, given: dict[str, str], seconds: int) -> None:
    text = render(*MINIMAL, *(part for name, value in given.items() for part in ("--set", f"settings.{name}={value}")))
    probe = container(text, role)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == seconds


def test_no_pod_reaches_the_probes_of_the_api_and_only_scrapers_those_of_the_scheduler() -> None:
    assert ports_open_to(rendered("default"), "api") == {8800: None}
    assert list(ports_open_to(rendered("production"), "api")) == [8800]
    for role, port in (("scheduler", 8804), ("operator", 8802)):
        [(opened, peers)] = ports_open_to(rendered("production"), role).items()
        assert (opened, list(peers[0])) == (port, ["namespaceSelector"]), role


def test_the_memory_of_the_api_holds_what_its_budgets_allow() -> None:
    """By the measurement in docs/guides/operations.md: the process, its bodies at work, unfinished requests."""
    limit = container(rendered("default"), "api")["resources"]["limits"]["memory"]
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    headers = defaults["api_connections_max"] * defaults["api_header_max_bytes"]
    needed = IDLE_BYTES + BODY_FACTOR * defaults["api_bodies_max_bytes"] + headers
    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) * 2**20 >= needed


def test_a_budget_only_where_there_can_be_two_pods() -> None:
    names = {o["metadata"]["name"] for o in objects(rendered("default")) if o["kind"] == "PodDisruptionBudget"}
    assert names == {"demo-taskmill-api", "demo-taskmill-scheduler"}
    assert not [o for o in objects(rendered("dev")) if o["kind"] == "PodDisruptionBudget"]


def test_a_queue_without_connection_gets_that_of_the_release() -> None:
    text = rendered("production")
    emails, videos = find(text, "TaskQueue", "emails")["spec"], find(text, "TaskQueue", "videos")["spec"]
    assert emails["connection"] == {
        "databaseSecretRef": {"name": "app-db", "key": "dsn"}, "brokerSecretRef": {"name": "app-broker", "key": "url"},
    }  # fmt: skip
    assert videos["connection"]["databaseSecretRef"]["name"] == "video-db"
    assert find(rendered("dev"), "TaskQueue")["spec"]["connection"]["databaseSecretRef"] == {
        "name": "demo-taskmill-dev", "key": "database-url",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("api.replica=3", "'/api': additional properties 'replica' not allowed"),
        ("nonsense=1", "additional properties 'nonsense' not allowed"),
        ("api.ingress.host=x", "additional properties 'host' not allowed"),
        ("operator.watch.all=true", "additional properties 'all' not allowed"),
        ("api.replicas=two", "'/api/replicas': got string, want integer"),
        ("migrations.mode=hook", "value must be one of 'job', 'operator', 'off'"),
        ("image.digest=sha256:abc", "'/image/digest': 'sha256:abc' does not match pattern"),
        ("global.commonLabels.helm\\.sh/chart=x", "invalid propertyName 'helm.sh/chart'"),
        ("settings.log_level=x", "'/settings': additional properties 'log_level' not allowed"),
        (f"taskQueues.{'a' * 48}.concurrency=1", "'/taskQueues': additional properties 'aaaa"),
        ("devDependencies.runAsUser=0", "minimum: got 0, want 1"),
    ],
)
def test_the_schema_refuses(options: str, words: str) -> None:
    assert words in refused(*MINIMAL, "--set", options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("broker.existingSecret=br", "database.existingSecret is needed"),
        ("database.existingSecret=db", "broker.existingSecret is needed"),
        ("devDependencies.enabled=true,production=true", "devDependencies.enabled is refused with production"),
        ("devDependencies.enabled=true,database.existingSecret=db", "exclude each other: which database"),
        (
            "database.existingSecret=d,broker.existingSecret=b,production=true,image.tag=latest",
            "image.tag latest is refused",
        ),
        (
            "database.existingSecret=d,broker.existingSecret=b,migrations.mode=operator,operator.enabled=false",
            "needs operator.enabled",
        ),
        (
            "database.existingSecret=d,broker.existingSecret=b,api.ingress.enabled=true,api.httpRoute.enabled=true",
            "api.ingress and api.httpRoute exclude each other",
        ),
        (
            "database.existingSecret=d,broker.existingSecret=b,api.httpRoute.enabled=true",
            "api.httpRoute.parentRefs is needed",
        ),
        (
            "database.existingSecret=d,broker.existingSecret=b,api.autoscaling.enabled=true,api.autoscaling.minReplicas=9",
            "minReplicas must not be above maxReplicas",
        ),
        (
            "database.existingSecret=d,broker.existingSecret=b,metrics.serviceMonitor.enabled=true",
            "needs a key for the API's /metrics",
        ),
        (
            "database.existingSecret=d,broker.existingSecret=b,operator.watch.allSecrets=true",
            "allSecrets means nothing without",
        ),
        (
            "database.existingSecret=d,broker.existingSecret=b,settings.TASKMILL_DATABASE_URL=x",
            "TASKMILL_DATABASE_URL does not belong in settings",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(options: str, words: str) -> None:
    assert words in refused("--set", options)


def test_extra_objects_hold_templates() -> None:
    names = {o["metadata"]["name"] for o in objects(rendered("operator-only")) if o["kind"] == "ConfigMap"}
    assert names == {"demo-extra", "demo-text"}


def test_ingress_and_route_lead_to_the_service() -> None:
    rule = find(rendered("production"), "Ingress")["spec"]["rules"][0]
    service = find(rendered("production"), "Service")["metadata"]["name"]
    assert rule["host"] == "tasks.example.org"
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == service
    route = find(rendered("cluster-wide"), "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0]
    assert route == {"name": find(rendered("cluster-wide"), "Service")["metadata"]["name"], "port": 8800}


def alerts() -> list[dict[str, Any]]:
    return find(rendered("production"), "PrometheusRule")["spec"]["groups"][0]["rules"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    names = {alert["alert"] for alert in alerts()}
    assert names == {path.stem for path in RUNBOOKS.glob("Taskmill*.md")}
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for alert in alerts():
        assert alert["annotations"]["runbook_url"].endswith(f"/{alert['alert']}.md")
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert f"]({alert['alert']}.md)" in index
        page = (RUNBOOKS / f"{alert['alert']}.md").read_text(encoding="utf-8")
        assert all(part in page for part in ("**Symptom.**", "**Meaning.**", "## Look", "## Mend", "```bash"))


def exported() -> set[str]:
    """Every name of a metric that a role exports."""
    found = {metric.name for metric in METRICS}
    for family in Metrics().registry.collect():
        found |= {family.name, f"{family.name}_total"}
    return found


@pytest.mark.parametrize("source", ["alerts", "dashboard"])
def test_expressions_name_metrics_that_exist(source: str) -> None:
    text = (
        json.dumps(alerts()) if source == "alerts" else (CHART / "dashboards" / "taskmill.json").read_text(encoding="utf-8")
    )
    used = {name.removesuffix("_bucket") for name in re.findall(r"\btaskmill_[a-z_]+", text)}
    assert len(used) >= 8
    assert used - exported() == set()


def test_the_dashboard_is_a_dashboard() -> None:
    data = find(rendered("production"), "ConfigMap", "-dashboard")["data"]["taskmill.json"]
    board = json.loads(data)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) >= 8


def test_the_readme_has_the_table_of_values() -> None:
    assert chart_readme.README.read_text(encoding="utf-8") == chart_readme.expected(), "make generate"


def test_a_value_without_comment_would_be_noticed() -> None:
    told = chart_readme.comments("# -- A.\na: 1\nb:\n  # -- C,\n  # more.\n  c: 2\n  d: 3\n")
    assert told == {"a": "A.", "b.c": "C, more."}


def test_versions_are_that_of_the_package() -> None:
    from taskmill import __version__

    for chart in (CHART, CRDS_CHART):
        meta = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
        assert (meta["version"], meta["appVersion"]) == (__version__, __version__)


def test_the_crds_chart_keeps_its_definitions() -> None:
    found = objects(render(chart=CRDS_CHART))
    assert {each["metadata"]["name"] for each in found} == {crd["metadata"]["name"] for crd in crds.documents().values()}
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in found)


def test_the_schema_knows_every_value() -> None:
    def keys(values: Any, schema: dict[str, Any], root: dict[str, Any], path: str) -> list[str]:
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        if not isinstance(values, dict) or "properties" not in schema:
            return []
        assert schema["additionalProperties"] is False, path
        unknown = [f"{path}.{name}" for name in values.keys() ^ schema["properties"].keys() if path != "/resources"]
        inner = [
            keys(v, schema["properties"][k], root, f"{path}.{k}") for k, v in values.items() if k in schema["properties"]
        ]
        return unknown + [each for part in inner for each in part]

    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert [name for name in keys(values, schema, schema, "") if not name.endswith("resources.claims")] == []


def test_notes_tell_the_next_commands() -> None:
    notes = (CHART / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    for words in ("taskmill key create", "kubectl apply --server-side -f crds/", "helm test", "helm uninstall"):
        assert words in notes
